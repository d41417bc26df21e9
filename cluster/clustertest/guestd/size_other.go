//go:build !linux

package main

// size needs Linux.
func size() int { return 1 }
