package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// starts pulls what images are missing, all at a time, and starts containers,
// one after another.
func (w *worker) starts(ctx context.Context, want *Workload, starts []start) {
	if len(starts) == 0 {
		return
	}
	failed := w.pullAll(ctx, want, starts)
	for _, s := range starts {
		if ctx.Err() != nil || w.outdated(want) {
			return
		}
		err := failed[s.service.Hash]
		if err == nil {
			err = w.start(ctx, want, s)
		}
		if ctx.Err() != nil || w.outdated(want) && err != nil {
			return
		}
		w.note(ctx, s, err)
	}
}

// outdated reports whether something else is wanted by now.
func (w *worker) outdated(want *Workload) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want != want
}

// pullAll pulls the images of services that are to start and returns what
// failed, by definition.
func (w *worker) pullAll(ctx context.Context, want *Workload, starts []start) map[string]error {
	pull, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	if w.abort = cancel; w.want != want {
		cancel()
	}
	w.mu.Unlock()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards failed and w.images
		failed = make(map[string]error)
		asked  = make(map[string]bool)
	)
	for _, s := range starts {
		mu.Lock()
		have := w.images[s.service.Hash] != ""
		mu.Unlock()
		if asked[s.service.Hash] || have {
			continue
		}
		asked[s.service.Hash] = true
		w.tell(s.slot, "pulling image "+s.service.Image)
		wg.Go(func() {
			image, err := w.agent.pull(pull, s.service, w.progress(s))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[s.service.Hash] = err
				return
			}
			w.images[s.service.Hash] = image.Digest
		})
	}
	wg.Wait()
	w.mu.Lock()
	w.abort = nil
	w.mu.Unlock()
	return failed
}

// progress tells how far a pull is, in steps of ten percent.
func (w *worker) progress(s start) func(done, total int64) {
	const percent, step = 100, 10
	last := int64(0)
	return func(done, total int64) {
		if total <= 0 {
			return
		}
		if now := done * percent / total; now >= last+step && now < percent {
			last = now
			w.tell(s.slot, fmt.Sprintf("pulling image %s: %d %%", s.service.Image, now))
		}
	}
}

// tell changes why a slot that does not fail is waiting.
func (w *worker) tell(slot Slot, reason string) {
	w.change(func(o *Observation) {
		if t := o.Troubles[slot]; !t.Failing {
			t.Reason = reason
			o.Troubles[slot] = t
		}
	})
}

// start starts one container.
func (w *worker) start(ctx context.Context, want *Workload, s start) error {
	if err := enter(ctx, w.agent.begins); err != nil {
		return err
	}
	defer func() { <-w.agent.begins }()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	spec := s.service.Template
	spec.Name = containerName(w.id, s.slot, s.number)
	spec.Labels = labels(want, s)
	spec.Image = w.images[s.service.Hash]
	spec.Hostname = fmt.Sprintf("%.50s-%d", s.slot.Service, s.slot.Index)
	spec.Network, spec.Service = networkName(w.id), s.slot.Service
	spec.Env = append(slices.Clone(spec.Env), fmt.Sprintf("MOORAGE_REPLICA=%d", s.slot.Index))
	for _, v := range s.service.Volumes {
		spec.Mounts = append(spec.Mounts, w.mount(v, s))
	}
	c, err := w.agent.cfg.Runtime.Start(ctx, spec)
	if err != nil {
		return err
	}
	w.agent.cfg.Logger.InfoContext(ctx, "container started", slog.Any("lease", w.id), slog.String("service", s.slot.Service),
		slog.Uint64("replica", uint64(s.slot.Index)), slog.String("container", c.Name))
	return nil
}

func (w *worker) mount(v Volume, s start) runtime.Mount {
	m := runtime.Mount{Target: v.Target, Bytes: v.Bytes, ReadOnly: v.ReadOnly}
	switch v.Kind {
	case Memory:
		m.Tmpfs = true
	case Ephemeral:
		m.Volume = ephemeralName(w.id, s.slot, v.Name, s.number)
	case Persistent:
		m.Volume = persistentName(w.id, s.slot, v.Name)
	}
	return m
}

// note remembers how a start went: a slot that failed waits longer each time.
func (w *worker) note(ctx context.Context, s start, err error) {
	if err == nil {
		delete(w.held, s.slot)
		delete(w.tries, s.slot)
		return
	}
	w.network = false // whatever was wrong, the network is looked at again
	delete(w.images, s.service.Hash)
	trouble := Trouble{
		Reason: startText(s.service.Image, err), Failing: true,
		Retry: time.Now().Add(backoff(w.tries[s.slot])), hash: s.service.Hash,
	}
	w.tries[s.slot]++
	w.held[s.slot] = trouble
	w.agent.cfg.Logger.InfoContext(ctx, "container not started", slog.Any("lease", w.id), slog.String("service", s.slot.Service),
		slog.Uint64("replica", uint64(s.slot.Index)), slog.Any("err", err))
}
