package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
)

// cycle is the rest of --once: log, exec, update, close, balance sheet.
func (n *network) cycle(ctx context.Context, b *stack.Buyer, r tenant.Running, before balances) error {
	if err := n.readLog(ctx, b, r.Leases[0]); err != nil {
		return err
	}
	if err := n.execute(ctx, b, r.Leases[0]); err != nil {
		return err
	}
	if err := n.update(ctx, b, r); err != nil {
		return err
	}
	memory := n.memory() // while the container runs
	if err := b.Close(ctx, r.Deployment); err != nil {
		return err
	}
	if err := n.awaitEmpty(ctx); err != nil {
		return err
	}
	n.con.Title("Memory")
	n.con.Table(memory...)
	return n.sheet(ctx, r, before)
}

// readLog prints what the container has said so far.
func (n *network) readLog(ctx context.Context, b *stack.Buyer, id market.LeaseID) error {
	gw, err := b.Gateway(ctx, id)
	if err != nil {
		return err
	}
	lines := 0
	for line, err := range gw.Logs(ctx, id, driver.LogOptions{Tail: 5}) {
		if err != nil {
			return fmt.Errorf("log: %w", err)
		}
		n.con.Step("log", "%s/%d  %s", line.Service, line.Replica, line.Text)
		lines++
	}
	if lines == 0 && n.o.file == "" {
		return errors.New("log: the container has said nothing")
	}
	return nil
}

// execute runs a command in the first container.
func (n *network) execute(ctx context.Context, b *stack.Buyer, id market.LeaseID) error {
	command := n.o.exec
	if len(command) == 0 {
		if n.o.file != "" {
			n.con.Info("exec", "no --exec was given: nothing to run in a container of your own")
			return nil
		}
		command = []string{"/hello", "whoami"}
	}
	gw, err := b.Gateway(ctx, id)
	if err != nil {
		return err
	}
	status, err := gw.LeaseStatus(ctx, id)
	if err != nil {
		return err
	}
	var out, errs bytes.Buffer
	code, err := gw.Exec(ctx, id, driver.Exec{Service: status.Services[0].Name, Command: command, Stdout: &out, Stderr: &errs})
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	n.con.Step("exec", "%s: exit code %d\n%s%s", strings.Join(command, " "), code, out.String(), errs.String())
	return nil
}

// update rolls a second version out and looks at it.
func (n *network) update(ctx context.Context, b *stack.Buyer, r tenant.Running) error {
	plan, err := n.plan("Hello again")
	if err != nil {
		return err
	}
	if n.o.file != "" {
		if err := touch(&plan); err != nil {
			return err
		}
	}
	updated, err := b.Update(ctx, r.Deployment, plan)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	n.con.Step("update", "revision %d runs", updated.Status[0].Revision)
	for _, s := range updated.Status[0].Services {
		if len(s.URIs) == 0 {
			continue
		}
		body, err := n.fetch(ctx, s.URIs[0])
		if err != nil {
			return err
		}
		n.con.Step("page", "%s", headline(body))
		if n.o.file == "" && !bytes.Contains(body, []byte("Hello again")) {
			return errors.New("update: the page is still the old one")
		}
		return nil
	}
	return nil
}

// touch makes a second version of a document of the user's own: one more
// variable in every environment.
func touch(p *tenant.Plan) error {
	for _, g := range p.Manifest {
		for i := range g.Services {
			g.Services[i].Env = append(g.Services[i].Env, "MOORAGE_LOCALNET_VERSION=2")
		}
	}
	var err error
	p.Hash, err = p.Manifest.Version()
	return err
}

// emptyTimeout is how long the provider has to take everything down.
const emptyTimeout = time.Minute

// awaitEmpty waits until the provider has no lease left.
func (n *network) awaitEmpty(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, emptyTimeout)
	defer cancel()
	for {
		status, err := n.seller.Provider.Status(ctx)
		if err != nil {
			return err
		}
		if status.Leases == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("close: the provider still has %d leases: %w", status.Leases, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// memory reports what this process and the containers' shims hold.
func (n *network) memory() []string {
	rows := []string{fmt.Sprintf("this process: chain, provider, tenant\t%s", megabytes(residentBytes("/proc/self/status")))}
	count, shims := shims()
	if count > 0 {
		rows = append(rows, fmt.Sprintf("%d helper of containers on this host\t%s", count, megabytes(shims)))
	}
	return rows
}

// shims counts the containers' helper processes on this host, and their memory.
func shims() (count int, bytes uint64) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, 0
	}
	for _, file := range all {
		line, err := os.ReadFile(file)
		if name, _, _ := strings.Cut(string(line), "\x00"); err == nil && filepath.Base(name) == "moorage-shim" {
			count++
			bytes += residentBytes(filepath.Join(filepath.Dir(file), "status"))
		}
	}
	return count, bytes
}

func megabytes(b uint64) string { return fmt.Sprintf("%d MiB resident", b>>20) }

// residentBytes reads VmRSS from a status file of proc; 0 when it cannot.
func residentBytes(file string) uint64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}
