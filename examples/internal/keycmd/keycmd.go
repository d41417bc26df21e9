// Package keycmd is the "keys" command that the example programs share.
package keycmd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/market/chain/keys"
)

// Options say where the keys are. The pointers are read when a command runs.
type Options struct {
	// Dir is the folder of the keyring.
	Dir func() string
	// Backend is test or file.
	Backend *string
	Stdin   io.Reader
	// JSON asks for output for programs.
	JSON *bool
}

// Open opens the keyring of the options.
func (o Options) Open() (*keys.Ring, error) {
	return keys.Open(o.Dir(), keys.Backend(*o.Backend), o.Stdin)
}

// New returns the command.
func New(o Options) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make, list and delete the accounts' keys"}
	var restore bool
	add := &cobra.Command{
		Use: "add NAME", Short: "Make a new key and print the words that restore it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.add(cmd.OutOrStdout(), args[0], restore) },
	}
	add.Flags().BoolVar(&restore, "recover", false, "restore a key from words on standard input")
	cmd.AddCommand(add,
		&cobra.Command{
			Use: "list", Short: "List the keys with their addresses", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return o.list(cmd.OutOrStdout()) },
		},
		&cobra.Command{
			Use: "show NAME", Short: "Print the address of a key", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return o.show(cmd.OutOrStdout(), args[0]) },
		},
		&cobra.Command{
			Use: "delete NAME", Short: "Delete a key for good", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return o.remove(args[0]) },
		})
	return cmd
}

// entry is a key as it is printed.
type entry struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Words   string `json:"words,omitempty"`
}

func (o Options) add(w io.Writer, name string, restore bool) error {
	ring, err := o.Open()
	if err != nil {
		return err
	}
	var k *keys.Key
	var words string
	if restore {
		line, readErr := bufio.NewReader(o.Stdin).ReadString('\n')
		if readErr != nil && line == "" {
			return fmt.Errorf("no words on standard input: %w", readErr)
		}
		k, err = ring.Import(name, strings.TrimSpace(line))
	} else {
		k, words, err = ring.Create(name)
	}
	if err != nil {
		return err
	}
	if *o.JSON {
		return json.NewEncoder(w).Encode(entry{name, string(k.Address()), words})
	}
	fmt.Fprintf(w, "%s %s\n", name, k.Address())
	if words != "" {
		fmt.Fprintf(w, "\nwrite these words down, they are the only way to restore the key:\n%s\n", words)
	}
	return nil
}

func (o Options) list(w io.Writer) error {
	ring, err := o.Open()
	if err != nil {
		return err
	}
	all, err := ring.List()
	if err != nil {
		return err
	}
	for _, k := range all {
		if *o.JSON {
			if err := json.NewEncoder(w).Encode(entry{Name: k.Name(), Address: string(k.Address())}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%-16s %s\n", k.Name(), k.Address())
	}
	return nil
}

func (o Options) show(w io.Writer, name string) error {
	ring, err := o.Open()
	if err != nil {
		return err
	}
	k, err := ring.Load(name)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, k.Address())
	return nil
}

func (o Options) remove(name string) error {
	ring, err := o.Open()
	if err != nil {
		return err
	}
	return ring.Delete(name)
}

// DefaultHome is the folder of a program below the user's home.
func DefaultHome(name string) string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(".moorage", name)
	}
	return filepath.Join(dir, ".moorage", name)
}
