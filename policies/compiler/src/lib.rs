//! Rule language to typed tree to tables and bytecode; reference evaluator; explain.
