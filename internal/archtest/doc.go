// Package archtest holds the project's architecture as tests: which package may
// link what, and that every package and exported name is documented. The rules
// are those of ARCHITECTURE.md; each carries its reason.
package archtest
