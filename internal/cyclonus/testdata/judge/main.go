// Command judge asks the matcher of cyclonus, an independent reading of Kubernetes'
// network policies, what policies allow. It reads questions as JSON from standard
// input, one after another, and writes an answer for each.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// question is objects, and packets to judge by them.
type question struct {
	Policies []*networkingv1.NetworkPolicy
	Packets  []packet
}

type packet struct {
	From, To peer
	Protocol corev1.Protocol
	Port     int
	PortName string
}

type peer struct {
	IP string
	// Namespace is "" for what is no pod.
	Namespace       string
	NamespaceLabels map[string]string
	Labels          map[string]string
}

// answer has for each packet whether it may leave and whether it may enter.
type answer struct{ Egress, Ingress []bool }

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q question
		if err := decoder.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		policy := matcher.BuildNetworkPolicies(false, q.Policies)
		var a answer
		for _, p := range q.Packets {
			got := policy.IsTrafficAllowed(&matcher.Traffic{
				Source: p.From.traffic(), Destination: p.To.traffic(),
				ResolvedPort: p.Port, ResolvedPortName: p.PortName, Protocol: p.Protocol,
			})
			a.Egress = append(a.Egress, got.Egress.IsAllowed())
			a.Ingress = append(a.Ingress, got.Ingress.IsAllowed())
		}
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
}

func (p peer) traffic() *matcher.TrafficPeer {
	t := &matcher.TrafficPeer{IP: p.IP}
	if p.Namespace != "" {
		t.Internal = &matcher.InternalPeer{PodLabels: p.Labels, NamespaceLabels: p.NamespaceLabels, Namespace: p.Namespace}
	}
	return t
}
