package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/operator"
)

// headerTimeout bounds how long a client may take to say what it wants.
const headerTimeout = 10 * time.Second

// serveOperator serves the operator's door until the context ends.
func serveOperator(ctx context.Context, address string, h http.Handler) error {
	if address == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--operator: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	<-ctx.Done()
	err = errors.Join(s.Close(), <-ended)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// operatorCommands talk to the door of a provider that runs.
func (p *program) operatorCommands() []*cobra.Command {
	var address, notice string
	ask := func(cmd *cobra.Command, method, path string, body any) error {
		return p.askOperator(cmd.Context(), method, "http://"+address+path, body)
	}
	drain := &cobra.Command{
		Use: "drain", Short: "Make no new bids; leases are kept", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, http.MethodPost, "/drain", operator.Drain{On: true, Notice: notice})
		},
	}
	drain.Flags().StringVar(&notice, "notice", "", "why, for tenants")
	all := []*cobra.Command{
		drain,
		{
			Use: "resume", Short: "Bid again", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return ask(cmd, http.MethodPost, "/drain", operator.Drain{})
			},
		},
		{
			Use: "reclaim LEASE", Short: "Take a lease's capacity back, with the notice that it was ordered with", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				id, err := market.ParseLeaseID(args[0])
				if err != nil {
					return err
				}
				return ask(cmd, http.MethodPost, "/reclaim", operator.Reclaim{Lease: id})
			},
		},
		{
			Use: "withdraw", Short: "Have the earnings of all leases paid out now", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return ask(cmd, http.MethodPost, "/withdraw", nil) },
		},
		{
			Use: "overview", Short: "Show leases, bids, and why orders are not bid on", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return ask(cmd, http.MethodGet, "/overview", nil) },
		},
	}
	for _, cmd := range all {
		cmd.Flags().StringVar(&address, "operator", "127.0.0.1:9464", "where the provider's --operator listens")
	}
	return all
}

// operatorTimeout bounds a question to the door: it may wait for blocks.
const operatorTimeout = time.Minute

// askOperator makes a request and prints the answer.
func (p *program) askOperator(ctx context.Context, method, url string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w: does the provider run with --operator?", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(answer))
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, answer, "", "  "); err != nil {
		return err
	}
	_, err = pretty.WriteTo(p.stdout)
	return err
}
