// Package version holds the version of the program, for every part that
// introduces itself to another. It computes nothing.
package version

// Number is the version of this build.
const Number = "0.1.0"
