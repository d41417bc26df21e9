//go:build !linux

package main

import "github.com/moorage-dev/moorage/cluster/runtime"

func probe([]string) (int, bool) { return 0, false }

func terminalSize() (runtime.TerminalSize, bool) { return runtime.TerminalSize{}, false }
