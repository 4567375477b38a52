//! From the first start to a restored database, as a person does it.
