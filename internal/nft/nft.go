// Package nft hands rule sets to the kernel with the program nft, each in one
// transaction: all of it or nothing.
package nft

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Program is what must be installed.
const Program = "nft"

// maxMessage bounds what is kept of nft's complaint, in bytes.
const maxMessage = 500

// Run applies a script in the network namespace of the calling thread. The error
// has the beginning of what nft said.
func Run(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, Program, "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("nft: %w: %.*s", err, maxMessage, strings.TrimSpace(out.String()))
	}
	return nil
}

// DeleteTable removes a table of family inet. Absent is no error.
func DeleteTable(ctx context.Context, table string) error {
	return Run(ctx, fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\n", table))
}
