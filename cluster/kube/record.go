package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// record is what is wanted of a lease.
type record struct {
	// write serializes what is written to the cluster for the lease. It is taken
	// before Driver.mu.
	write sync.Mutex
	// memo is what was last written or found right, by kind and name. Guarded by
	// Driver.mu.
	memo map[string]memo

	// state is what was accepted; the pointer is replaced, never its contents.
	// Guarded by Driver.mu, as all below.
	state *state
	// durable says that the cluster keeps the state.
	durable bool
	leaving bool
	// trouble is why the lease could not be brought in order; final says that
	// waiting will not help.
	trouble string
	final   bool
	// templates are the digests of the newest pods, by service.
	templates map[string]string
	tight     map[string]bool
}

// memo is what is known of an object without looking.
type memo struct {
	digest  string
	version uint64
	at      time.Time
	// answer is a Service as the server answered when it was written, until the
	// watch has it too.
	answer *corev1.Service
}

// memoLife is how long a memo stands for an object that the watch does not have.
// A watch is seconds behind at most; what is missing for longer was deleted
// unseen.
const memoLife = time.Minute

// covers reports whether an object of a digest needs no look: it was written a
// moment ago, or looked at since. live is what the watch has, nil for nothing.
func (m memo) covers(digest string, live metav1.Object, now time.Time) bool {
	switch {
	case m.digest != digest:
		return false
	case live == nil:
		return now.Sub(m.at) < memoLife
	}
	return versionNumber(live.GetResourceVersion()) <= m.version
}

// state is a workload and what was found out when it was accepted. It is kept
// in a Secret of the lease's namespace.
type state struct {
	Workload   driver.Workload
	Resolution render.Resolution
	// encoded is its form in the Secret.
	encoded []byte
}

// kept is the form of a state that leaves the process. Do not rename.
type kept struct {
	Lease      market.LeaseID         `json:"lease"`
	Revision   uint64                 `json:"revision"`
	Hash       market.Hash            `json:"hash"`
	Manifest   json.RawMessage        `json:"manifest"`
	Addresses  []driver.LeasedAddress `json:"addresses,omitempty"`
	Resolution render.Resolution      `json:"resolution"`
}

// maxState bounds the compressed state: a Secret holds 1 MiB.
const maxState = 1<<20 - 64<<10

// newState encodes a state. The same state gives the same bytes.
func newState(w driver.Workload, res render.Resolution) (*state, error) {
	text, err := json.Marshal(kept{w.Lease, w.Revision, w.Hash, manifest.Manifest{w.Group}.AppendCanonical(nil), w.Addresses, res})
	if err != nil {
		return nil, fmt.Errorf("kube: encode workload: %w", err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err = z.Write(text); err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("kube: encode workload: %w", err)
	}
	if b.Len() > maxState {
		return nil, fmt.Errorf("%w: it takes %d bytes compressed, Kubernetes keeps %d", driver.ErrInvalid, b.Len(), maxState)
	}
	return &state{Workload: w, Resolution: res, encoded: b.Bytes()}, nil
}

// maxStateText bounds what a state unpacks to.
const maxStateText = 256 << 20

// decodeState reads what newState wrote.
func decodeState(b []byte) (*state, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(z, maxStateText))
	if err != nil {
		return nil, err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	var m manifest.Manifest
	if err := json.Unmarshal(k.Manifest, &m); err != nil {
		return nil, err
	}
	if len(m) != 1 {
		return nil, fmt.Errorf("%d groups, want 1", len(m))
	}
	w := driver.Workload{Lease: k.Lease, Revision: k.Revision, Hash: k.Hash, Group: m[0], Addresses: k.Addresses}
	return &state{Workload: w, Resolution: k.Resolution, encoded: b}, w.Validate()
}

// restore reads the workloads that the cluster keeps. One that cannot be read
// is reported and stays an orphan.
func (d *Driver) restore(ctx context.Context) error {
	list, err := d.client.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{LabelManaged: render.Managed, LabelInstance: d.cfg.Instance}.String(),
		FieldSelector: fields.Set{"metadata.name": render.StateName, "type": render.StateType}.String(),
	})
	if err != nil {
		return explain("read workloads", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range list.Items {
		s := &list.Items[i]
		st, err := decodeState(s.Data[render.StateKey])
		if err != nil || s.Namespace != Namespace(st.Workload.Lease) {
			d.log.ErrorContext(ctx, "a workload that the cluster keeps cannot be read", slog.String("namespace", s.Namespace), slog.Any("err", err))
			continue
		}
		d.adopt(st)
	}
	return nil
}

// adopt makes a record of a state that was found. The caller holds mu.
func (d *Driver) adopt(st *state) {
	id := st.Workload.Lease
	if d.records[id] != nil {
		return
	}
	d.records[id] = &record{memo: make(map[string]memo), state: st, durable: true}
	d.byNS[Namespace(id)] = id
	d.refreshNodes()
	if _, reasons := d.ledger.Reserve(id.String(), st.Workload.Spec()); len(reasons) > 0 {
		d.log.Warn("a workload no longer fits this cluster", slog.Any("lease", id), slog.String("reason", reasons[0].String()))
	}
	d.queue.Add(id)
}

// leaseOf reads whose object something is, by its annotation or by its
// namespace.
func leaseOf(m metav1.Object) (market.LeaseID, bool) {
	id, err := market.ParseLeaseID(m.GetAnnotations()[AnnotationLease])
	ns := m.GetNamespace()
	if _, isNamespace := m.(*corev1.Namespace); isNamespace {
		ns = m.GetName()
	}
	return id, err == nil && Namespace(id) == ns
}
