package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/client"
)

// remoteExitError carries the exit code of a command that ran in a container.
type remoteExitError struct{ code int }

// Error implements error.
func (e *remoteExitError) Error() string {
	return fmt.Sprintf("the command ended with code %d", e.code)
}

func (p *program) logsCommand() *cobra.Command {
	var follow, stamps bool
	var tail, replica int
	var since time.Duration
	var service string
	cmd := &cobra.Command{
		Use: "logs DSEQ", Short: "Print what the containers of a deployment print", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withService(cmd.Context(), args[0], service, func(ctx context.Context, gw *client.Client, id market.LeaseID, _ string) error {
				o := driver.LogOptions{Service: service, Follow: follow, Tail: tail}
				if since > 0 {
					o.Since = time.Now().Add(-since)
				}
				if replica >= 0 {
					n := uint32(replica)
					o.Replica = &n
				}
				for line, err := range gw.Logs(ctx, id, o) {
					if ctx.Err() != nil {
						return nil // Ctrl-C ends following
					}
					if err != nil {
						return err
					}
					if err := p.line(line, stamps); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on with new lines until Ctrl-C")
	f.IntVar(&tail, "tail", -1, "begin with so many of the newest lines; negative is all that are kept")
	f.StringVar(&service, "service", "", "only this service")
	f.IntVar(&replica, "replica", -1, "only this replica of each service; negative is all")
	f.DurationVar(&since, "since", 0, "only lines of so long ago until now, as 10m")
	f.BoolVar(&stamps, "timestamps", false, "begin each line with its time")
	return cmd
}

func (p *program) line(l driver.LogLine, stamps bool) error {
	if p.json {
		return json.NewEncoder(p.stdout).Encode(api.LogLine{Service: l.Service, Replica: l.Replica, Time: l.Time, Stderr: l.Stderr, Text: l.Text})
	}
	stamp := ""
	if stamps {
		stamp = l.Time.UTC().Format(time.RFC3339Nano) + " "
	}
	_, err := fmt.Fprintf(p.stdout, "%s%s/%d  %s\n", stamp, l.Service, l.Replica, l.Text)
	return err
}

func (p *program) execCommand() *cobra.Command {
	var service string
	var replica uint32
	var stdin bool
	cmd := &cobra.Command{
		Use: "exec DSEQ -- COMMAND [ARG...]", Short: "Run a command in a container; its exit code is this program's", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			x := driver.Exec{Replica: replica, Command: args[1:], Stdout: p.stdout, Stderr: p.stderr}
			if stdin {
				x.Stdin = p.stdin
			}
			return p.exec(cmd.Context(), args[0], service, x)
		},
	}
	f := cmd.Flags()
	f.StringVar(&service, "service", "", "service to run it in; empty is the first")
	f.Uint32Var(&replica, "replica", 0, "replica to run it in")
	f.BoolVarP(&stdin, "stdin", "i", false, "pass standard input on")
	return cmd
}

func (p *program) exec(ctx context.Context, dseq, service string, x driver.Exec) error {
	return p.withService(ctx, dseq, service, func(ctx context.Context, gw *client.Client, id market.LeaseID, name string) error {
		x.Service = name
		code, err := gw.Exec(ctx, id, x)
		if err != nil {
			return err
		}
		if code != 0 {
			return &remoteExitError{code}
		}
		return nil
	})
}

func (p *program) shellCommand() *cobra.Command {
	var service string
	var replica uint32
	cmd := &cobra.Command{
		Use: "shell DSEQ [COMMAND...]", Short: "Open a terminal in a container (default command: sh)", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			command := args[1:]
			if len(command) == 0 {
				command = []string{"sh"}
			}
			return p.shell(cmd.Context(), args[0], service, driver.Exec{Replica: replica, Command: command})
		},
	}
	cmd.Flags().StringVar(&service, "service", "", "service to open it in; empty is the first")
	cmd.Flags().Uint32Var(&replica, "replica", 0, "replica to open it in")
	return cmd
}

// shell runs a command on a terminal; the local one is raw meanwhile.
func (p *program) shell(ctx context.Context, dseq, service string, x driver.Exec) error {
	in, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return fmt.Errorf("shell needs a terminal; use \"tenant exec %s -i -- %v\" in scripts", dseq, x.Command)
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return err
	}
	defer term.Restore(int(in.Fd()), before) //nolint:errcheck // nothing more can be done for this terminal
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x.TTY, x.Stdin, x.Stdout = true, in, p.stdout
	x.Resize = sizes(ctx, in)
	return p.exec(ctx, dseq, service, x)
}

// sizes yields the terminal's size, now and when it changes, until the context
// ends.
func sizes(ctx context.Context, f *os.File) <-chan driver.TerminalSize {
	out := make(chan driver.TerminalSize, 1)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		defer signal.Stop(changed)
		for {
			if w, h, err := term.GetSize(int(f.Fd())); err == nil {
				select {
				case out <- driver.TerminalSize{Width: uint16(w), Height: uint16(h)}:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
