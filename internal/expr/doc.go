// Package expr compiles and runs the expressions of a configuration: rules,
// conditions and the parameters of effects, in CEL with typed variables and
// bounded cost.
//
// Evaluation is total for the caller: a missing value, a wrong type, an exhausted
// budget or a panic in the engine is an error, never a value, and every caller
// denies on error. The package does no I/O, keeps no state between evaluations and
// does not know what a result means.
package expr
