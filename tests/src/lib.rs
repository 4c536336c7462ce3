//! Shared harness of the end-to-end tests: Anvil, deployed contracts, nodes.
