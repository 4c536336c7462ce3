//! What people do with a coordinator from outside a node: read it, and send it a transaction at a time.

mod account;
pub mod earnings;

pub use account::{Account, AccountError, Client};
