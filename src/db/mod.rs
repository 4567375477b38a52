//! The embedded SQLite catalogue. All of the product's own SQL is here.
