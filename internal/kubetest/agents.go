package kubetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/moorage-dev/moorage/internal/kubetest/policyagent"
)

// agents are the goroutines that enforce policies, one per node.
type agents struct {
	stop func()
	wg   sync.WaitGroup
	mu   sync.Mutex // guards err
	err  error
}

// startAgents enforces policies on every node if the options ask for it.
func (c *Cluster) startAgents() error {
	if !c.m.options.Policies {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.m.agents.stop = cancel
	for n := 1; n <= c.m.options.Nodes; n++ {
		node, err := c.Node(n)
		if err != nil {
			return err
		}
		agent, err := policyagent.New(policyagent.Config{
			Client: c.client, Node: nodeName(n),
			Apply: func(ctx context.Context, script string) error {
				_, err := node.Feed(ctx, []byte(script), "nft", "-f", "-")
				return err
			},
		})
		if err != nil {
			return fmt.Errorf("kubetest: policies of %s: %w", nodeName(n), err)
		}
		c.m.agents.wg.Go(func() {
			err := agent.Run(ctx)
			c.m.agents.mu.Lock()
			defer c.m.agents.mu.Unlock()
			c.m.agents.err = errors.Join(c.m.agents.err, err)
		})
	}
	return nil
}

// end stops the agents and returns what they failed with.
func (a *agents) end() error {
	if a.stop == nil {
		return nil
	}
	a.stop()
	a.wg.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}
