// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Element types, by their codes on the wire. Integers may have decimals: value = integer / 10^decimals.
enum DType {
    Invalid,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F16,
    F32,
    F64,
    Bool,
    String,
    BF16
}
