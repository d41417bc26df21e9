package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// size prints the size of the terminal, and again whenever it changes, until it
// is square: then it ends with its width as code.
func size() int {
	const pause = 20 * time.Millisecond
	var last unix.Winsize
	for range time.Tick(pause) {
		w, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if *w != last {
			last = *w
			fmt.Fprintf(os.Stdout, "%dx%d\n", w.Col, w.Row)
		}
		if w.Col != 0 && w.Col == w.Row {
			break
		}
	}
	return int(last.Col)
}
