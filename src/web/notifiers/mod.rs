//! Notifiers: one page and one group of addresses.
