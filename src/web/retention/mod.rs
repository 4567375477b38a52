//! Retention policies: one page and one group of addresses.
