//! What tests run against: the peers, the product itself as a process, disks; and who listens to an operation.

pub mod disk;
pub mod doubles;
pub mod leash;
pub mod mongo_script;
pub mod mongodb;
pub mod mysql;
pub mod observer;
pub mod postgres;
pub mod proxies;
pub mod rows;
pub mod served;
pub mod ssh;
pub mod tls;
pub mod tls_front;
