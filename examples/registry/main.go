// Registry serves the bundled demo image on loopback, and takes what is pushed
// to it: enough to try the other programs without a container registry.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var listen, cache string
	cmd := &cobra.Command{
		Use: "registry", Short: "Serve the bundled demo image on loopback until Ctrl-C",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := demo.Start(cmd.Context(), cache, listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "serving %s\n", r.Image())
			<-cmd.Context().Done()
			return r.Close()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5000", "where to listen")
	cmd.Flags().StringVar(&cache, "cache", defaultCache(), "folder for the compiled demo")
	sdl := &cobra.Command{
		Use: "sdl IMAGE [GREETING]", Short: "Print the SDL document of the demo for an image", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			greeting := "Hello"
			if len(args) == 2 {
				greeting = args[1]
			}
			_, err := cmd.OutOrStdout().Write(demo.SDL(args[0], greeting))
			return err
		},
	}
	cmd.AddCommand(sdl)
	return cmd
}

func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "moorage", "demo")
}
