//! The reading half of the library on region files that are laid out by hand: values, verdicts, hostile bytes,
//! directories.

mod builder;
mod directories;
mod evidence;
mod gc;
mod hostile;
mod lying;
mod reports;
mod values;
mod verdicts;
mod verifying;
