// Package sdlcmd is the command "sdl" of the tenant's program: it validates,
// compiles, formats and explains SDL documents.
//
// [New] returns the command tree; a program mounts it under its own root. The
// commands read files and standard input, write to the writers given, and return
// an [ExitError] when the program should exit with a code other than 0.
package sdlcmd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/sdl"
)

// ExitError says with which code the program should exit. What is wrong has
// already been printed when Err is nil.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return "sdl: documents have problems"
	}
	return e.Err.Error()
}

// Unwrap returns the cause, nil when it was printed.
func (e *ExitError) Unwrap() error { return e.Err }

// exitProblems is the code for documents with errors and for files that cannot
// be read.
const exitProblems = 1

// command is what the sub-commands share.
type command struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	strict, jsonl  bool
}

// New returns the command "sdl" with its sub-commands. stdin is read for a file
// called "-".
func New(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	c := &command{stdin: stdin, stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "sdl",
		Short: "Validate, compile, format and explain SDL documents",
		Long: "Validate, compile, format and explain SDL documents.\n\n" +
			"A file called - is standard input. The exit code is 1 when a document has\nerrors or a file cannot be read.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetIn(stdin)
	root.AddCommand(c.validate(), c.compile(), c.format(), c.schema(), c.explain())
	return root
}

func (c *command) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.strict, "strict", false, "make an error of what the reference compiler silently ignores")
	cmd.Flags().BoolVar(&c.jsonl, "jsonl", false, "print one JSON object a line for each file")
}

func (c *command) options(file string) sdl.Options {
	o := sdl.Options{File: file}
	if c.strict {
		o.Mode = sdl.ModeStrict
	}
	return o
}

// eachFile reads the files and runs f on each. f reports whether the document
// is right. Files that cannot be read are reported together at the end.
func (c *command) eachFile(files []string, f func(name string, src []byte) (ok bool, err error)) error {
	var failures *multierror.Error
	allRight := true
	for _, name := range files {
		src, shown, err := c.read(name)
		if err != nil {
			failures = multierror.Append(failures, err)
			continue
		}
		ok, err := f(shown, src)
		if err != nil {
			return &ExitError{exitProblems, err}
		}
		allRight = allRight && ok
	}
	if err := failures.ErrorOrNil(); err != nil {
		return &ExitError{exitProblems, err}
	}
	if !allRight {
		return &ExitError{Code: exitProblems}
	}
	return nil
}

// stdinName is what standard input is called in messages.
const stdinName = "<stdin>"

// read returns a file and the name it is shown under. It reads one byte more
// than a document may have, so that the compiler says what is wrong.
func (c *command) read(name string) (src []byte, shown string, err error) {
	if name == "-" {
		src, err = io.ReadAll(io.LimitReader(c.stdin, sdl.MaxBytes+1))
		if err != nil {
			err = fmt.Errorf("sdl: standard input: %w", err)
		}
		return src, stdinName, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, name, fmt.Errorf("sdl: %w", err)
	}
	src, err = io.ReadAll(io.LimitReader(f, sdl.MaxBytes+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, name, fmt.Errorf("sdl: %s: %w", name, err)
	}
	return src, name, nil
}
