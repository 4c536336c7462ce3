//! Oraculum's relayer.
