//! The rules of the house: ids, snapshot, account standing, decide order, session machine.
