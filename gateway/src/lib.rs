//! Login, sessions, portal and proxy: ask, enforce, record.
