//! What a policy module author links against.
