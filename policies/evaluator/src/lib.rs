//! The one program that runs inside class A policy modules.
