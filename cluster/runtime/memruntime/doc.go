// Package memruntime is a container runtime in memory: containers are Go
// functions, networks are tables, and failures happen when a test asks for them.
// Start from [NewMachine].
//
// A [Machine] is the world that outlives a process; [Machine.Open] gives a
// runtime on it, and opening again after Close is a restart of the agent. It is
// for tests and demonstrations: nothing is isolated and no limit is enforced
// except kept logs.
//
// Time is the ordinary package time, so a machine can live in a testing/synctest
// bubble; [Machine.Close] ends all its goroutines.
package memruntime
