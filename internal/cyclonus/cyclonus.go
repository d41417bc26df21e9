// Package cyclonus asks the matcher of github.com/mattfenwick/cyclonus what
// NetworkPolicy objects allow: an independent reading of Kubernetes' rules for the
// tests of our own. The matcher brings a test framework and a REST client along, so
// it is built as a program from a module of its own, in testdata, and asked over a
// pipe.
package cyclonus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Packet opens a connection between two peers.
type Packet struct {
	From, To Peer
	Protocol corev1.Protocol
	Port     int
	// PortName is what the receiving pod calls the port, "" for none.
	PortName string
}

// Peer is a pod, or with Namespace "" anything else.
type Peer struct {
	IP              string
	Namespace       string
	NamespaceLabels map[string]string
	Labels          map[string]string
}

// Answer has for each packet whether it may leave its sender and whether it may
// enter its receiver; what is no pod may do both.
type Answer struct{ Egress, Ingress []bool }

// Judge is the built program.
type Judge struct{ program string }

// Build builds the program into a folder. It needs the program go.
func Build(ctx context.Context, dir string) (*Judge, error) {
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "github.com/moorage-dev/moorage/internal/cyclonus")
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("cyclonus: find the module: %w", err)
	}
	j := &Judge{program: filepath.Join(dir, "judge")}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", j.program, ".")
	build.Dir = filepath.Join(strings.TrimSpace(string(out)), "testdata", "judge")
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cyclonus: build: %w: %.500s", err, out)
	}
	return j, nil
}

// Ask judges packets by policies.
func (j *Judge) Ask(ctx context.Context, policies []*networkingv1.NetworkPolicy, packets []Packet) (Answer, error) {
	var a Answer
	question, err := json.Marshal(struct {
		Policies []*networkingv1.NetworkPolicy
		Packets  []Packet
	}{policies, packets})
	if err != nil {
		return a, fmt.Errorf("cyclonus: %w", err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, j.program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(question), &out, &errs
	if err := cmd.Run(); err != nil {
		return a, fmt.Errorf("cyclonus: %w: %.500s", err, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil || len(a.Egress) != len(packets) || len(a.Ingress) != len(packets) {
		return a, fmt.Errorf("cyclonus: %d packets, answer %.80q: %w", len(packets), out.String(), err)
	}
	return a, nil
}
