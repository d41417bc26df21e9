package sdlcmd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/sdl"
)

func (c *command) format() *cobra.Command {
	write := false
	cmd := &cobra.Command{
		Use:   "fmt [-w] FILE...",
		Short: "Lay out documents",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			return c.eachFile(files, func(name string, src []byte) (bool, error) {
				out, err := sdl.Format(src)
				if err != nil {
					ds := sdl.AsDiagnostics(err)
					for _, d := range ds {
						d.File = name
					}
					_, err = fmt.Fprint(c.stderr, ds.Render(src))
					return false, err
				}
				if !write {
					_, err = c.stdout.Write(out)
					return true, err
				}
				if name == stdinName || bytes.Equal(src, out) {
					return true, nil
				}
				return true, replaceFile(name, out)
			})
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the result to the file instead of standard output")
	return cmd
}

// replaceFile writes beside the file and renames, so that it is never half
// written. The mode is kept.
func replaceFile(name string, text []byte) (err error) {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("sdl: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".sdl-fmt-*")
	if err != nil {
		return fmt.Errorf("sdl: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("sdl: %s: %w", name, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (c *command) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of the language for editors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.stdout.Write(sdl.Schema())
			return err
		},
	}
}

func (c *command) explain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [RULE]",
		Short: "Explain a rule, or list all rules",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, r := range sdl.Rules() {
				names = append(names, string(r.Name))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.listRules()
			}
			info, ok := sdl.Explain(sdl.Rule(args[0]))
			if !ok {
				return &ExitError{exitProblems, fmt.Errorf("sdl: no rule is called %q; sdl explain lists them", args[0])}
			}
			_, err := fmt.Fprintf(c.stdout, "%s (%s)\n\n%s\n%s\n\n%s\n", info.Name, info.Topic, info.Summary, info.Fix, severityText(info))
			return err
		},
	}
}

func severityText(info sdl.RuleInfo) string {
	switch info.Compatible {
	case sdl.SeverityError:
		return "An error."
	case sdl.SeverityWarning:
		return "A warning, and an error with --strict."
	}
	return "An error or, where the reference compiler lets it pass, a warning; an error with --strict."
}

func (c *command) listRules() error {
	topic := ""
	for _, r := range sdl.Rules() {
		if r.Topic != topic {
			topic = r.Topic
			if _, err := fmt.Fprintf(c.stdout, "%s\n", topic); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(c.stdout, "  %-26s %s\n", r.Name, r.Summary); err != nil {
			return err
		}
	}
	return nil
}
