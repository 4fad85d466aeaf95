//! Attacks with the real binary, one file an attacker: what somebody tries who has some rights and not others, and how it is
//! refused. docs/threat-model.md says what is promised against each.

mod config_changer;
mod false_identity;
mod hider;
mod hostile_application;
mod leaked_key;
mod limited_key;
mod other_project;
mod plan_changer;
mod pusher;
mod speaker;
mod state_changer;
mod tested_code;
mod weak_key;
