//! The command `towpath-playbook` beside Ansible's own commands: what they print and how they end, byte for byte.
//!
//! Ansible's answers are stored beside the cases. `TOWPATH_UPDATE=1 TOWPATH_TEST_ANSIBLE=/path/of/ansible-playbook` asks it again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, missing_docs, clippy::print_stderr)]

mod jobs;
mod normal;
mod runs;
