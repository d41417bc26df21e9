// Package walkthrough tests the example programs the way people use them: as
// processes that are started, read, interrupted and killed. Everything is real:
// the chain, the containers, the sockets. It needs root on Linux.
package walkthrough
