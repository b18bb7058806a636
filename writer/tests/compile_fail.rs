//! Mistakes in declarations and what the compiler says of them. Each message must say what is wrong and what to do.
//!
//! The `.stderr` files are the output of the Rust version that the tree is tested with (README, "Development"); another
//! version may word its own part differently. `TRYBUILD=overwrite cargo test -p tachograph --test compile_fail` writes
//! them anew: read the difference before it is kept.

#[test]
fn mistakes_are_explained_at_compile_time() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
