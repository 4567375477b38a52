//! What tests run against: the peers, the product itself as a process, disks.

pub mod disk;
pub mod postgres;
pub mod served;
