package runtimetest_test

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/memruntime"
	"github.com/moorage-dev/moorage/cluster/runtime/runtimetest"
	"github.com/moorage-dev/moorage/cluster/runtime/runtimetest/guest"
)

// world shows a process in memory to the guest.
func world(p *memruntime.Process) guest.World {
	return guest.World{
		Args: p.Args[1:], Env: p.Env, Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr, Stop: p.Stop, Resize: p.Resize,
		Hostname: func() string { return p.Hostname }, Lookup: p.Lookup, Listen: p.Listen, Dial: p.Dial,
	}
}

func program(ctx context.Context, p *memruntime.Process) int { return guest.Run(ctx, world(p)) }

const (
	reference = "guest:1"
	private   = "private/guest:1"
)

func credentials() runtime.Credentials {
	return runtime.Credentials{Host: "registry.example", Username: "ann", Password: "correct-horse"}
}

// machine has the guest's image.
func machine() *memruntime.Machine {
	m := memruntime.NewMachine()
	im := memruntime.Image{
		Entrypoint: []string{"/guest"}, Cmd: []string{"wait"}, Env: []string{"GUEST=image"}, Ports: []uint16{80},
		Program: program, Exec: program,
	}
	m.AddImage(reference, im)
	im.Username, im.Password = credentials().Username, credentials().Password
	m.AddImage(private, im)
	return m
}

// harness runs the suite on memory, every runtime changed by mutate.
func harness(mutate func(runtime.Runtime) runtime.Runtime) (runtimetest.Harness, func()) {
	var machines []*memruntime.Machine
	at := map[runtime.Runtime]*memruntime.Machine{}
	open := func(m *memruntime.Machine) runtime.Runtime {
		rt := mutate(m.Open())
		at[rt] = m
		return rt
	}
	h := runtimetest.Harness{
		New: func(context.Context) (runtime.Runtime, error) {
			m := machine()
			machines = append(machines, m)
			return open(m), nil
		},
		Reopen: func(_ context.Context, old runtime.Runtime) (runtime.Runtime, error) {
			return open(at[old]), old.Close()
		},
		Image: reference, Private: private, Credentials: credentials(),
		Claims: runtimetest.Reopening | runtimetest.Walls | runtimetest.Terminals | runtimetest.Credentials | runtimetest.StdStreams,
	}
	return h, func() {
		for _, m := range machines {
			m.Close()
		}
	}
}

func same(rt runtime.Runtime) runtime.Runtime { return rt }

func TestTheRuntimeInMemoryConforms(t *testing.T) {
	for _, c := range runtimetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			h, end := harness(same)
			if c.Needs&^h.Claims != 0 {
				t.Skipf("memory has no %s", c.Needs)
			}
			synctest.Test(t, func(t *testing.T) {
				defer end()
				require.NoError(t, h.Check(t.Context(), c), c.Clause)
			})
		})
	}
}

func TestRunSkipsWhatIsNotClaimed(t *testing.T) {
	h, end := harness(same)
	defer end()
	h.Claims = 0
	runtimetest.Run(t, h)
}

// mutant breaks one promise of the runtime it wraps.
type mutant struct {
	name    string
	catches string // the case that must fail
	wrap    func(runtime.Runtime) runtime.Runtime
}

func TestTheSuiteCatchesEveryMutant(t *testing.T) {
	cases := map[string]runtimetest.Case{}
	for _, c := range runtimetest.Cases() {
		cases[c.Name] = c
	}
	caught := map[string]bool{}
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			c, ok := cases[m.catches]
			require.True(t, ok, "no case %q", m.catches)
			caught[m.catches] = true
			synctest.Test(t, func(t *testing.T) {
				h, end := harness(m.wrap)
				defer end()
				require.Error(t, h.Check(t.Context(), c), "the case %q lets it pass", m.catches)
			})
		})
	}
	for name, c := range cases {
		h, _ := harness(same)
		if c.Needs&^h.Claims == 0 {
			require.True(t, caught[name], "no mutant shows that the case %q can fail", name)
		}
	}
}

type fake struct {
	runtime.Runtime
	pull    func(runtime.PullRequest) (runtime.Image, error)
	start   func(context.Context, runtime.Spec) (runtime.Container, error)
	stop    func(context.Context, string, time.Duration) error
	remove  func(string) error
	view    func(*runtime.Container)
	missing error // instead of ErrNotFound
	list    func([]runtime.Container) []runtime.Container
	watch   func(context.Context) iter.Seq2[string, error]
	logs    func(context.Context, string, runtime.LogOptions) iter.Seq2[runtime.LogLine, error]
	exec    func(context.Context, string, runtime.Exec) (int, error)
	network func(runtime.Network, error) (runtime.Network, error)
	delete  func(string) error
	hosts   func(string, map[string][]netip.Addr) error
	close   func() error
}

func (f *fake) Pull(ctx context.Context, p runtime.PullRequest) (runtime.Image, error) {
	if f.pull != nil {
		return f.pull(p)
	}
	return f.Runtime.Pull(ctx, p)
}

func (f *fake) Start(ctx context.Context, s runtime.Spec) (c runtime.Container, err error) {
	if f.start != nil {
		c, err = f.start(ctx, s)
	} else {
		c, err = f.Runtime.Start(ctx, s)
	}
	if f.view != nil {
		f.view(&c)
	}
	return c, err
}

func (f *fake) Stop(ctx context.Context, name string, grace time.Duration) error {
	if f.stop != nil {
		return f.stop(ctx, name, grace)
	}
	return f.Runtime.Stop(ctx, name, grace)
}

func (f *fake) Remove(ctx context.Context, name string) error {
	if f.remove != nil {
		return f.remove(name)
	}
	return f.Runtime.Remove(ctx, name)
}

func (f *fake) Inspect(ctx context.Context, name string) (runtime.Container, error) {
	c, err := f.Runtime.Inspect(ctx, name)
	if f.view != nil {
		f.view(&c)
	}
	if f.missing != nil && errors.Is(err, runtime.ErrNotFound) {
		return c, f.missing
	}
	return c, err
}

func (f *fake) List(ctx context.Context) ([]runtime.Container, error) {
	l, err := f.Runtime.List(ctx)
	if f.list != nil {
		l = f.list(l)
	}
	return l, err
}

func (f *fake) Watch(ctx context.Context) iter.Seq2[string, error] {
	if f.watch != nil {
		return f.watch(ctx)
	}
	return f.Runtime.Watch(ctx)
}

func (f *fake) Logs(ctx context.Context, name string, o runtime.LogOptions) iter.Seq2[runtime.LogLine, error] {
	if f.logs != nil {
		return f.logs(ctx, name, o)
	}
	return f.Runtime.Logs(ctx, name, o)
}

func (f *fake) Exec(ctx context.Context, name string, x runtime.Exec) (int, error) {
	if f.exec != nil {
		return f.exec(ctx, name, x)
	}
	return f.Runtime.Exec(ctx, name, x)
}

func (f *fake) EnsureNetwork(ctx context.Context, name string) (runtime.Network, error) {
	n, err := f.Runtime.EnsureNetwork(ctx, name)
	if f.network != nil {
		return f.network(n, err)
	}
	return n, err
}

func (f *fake) DeleteNetwork(ctx context.Context, name string) error {
	if f.delete != nil {
		return f.delete(name)
	}
	return f.Runtime.DeleteNetwork(ctx, name)
}

func (f *fake) SetHosts(ctx context.Context, network string, hosts map[string][]netip.Addr) error {
	if f.hosts != nil {
		return f.hosts(network, hosts)
	}
	return f.Runtime.SetHosts(ctx, network, hosts)
}

func (f *fake) Close() error {
	if f.close != nil {
		return f.close()
	}
	return f.Runtime.Close()
}

func mutants() []mutant {
	// of makes a mutant from what differs.
	of := func(name, catches string, change func(f *fake, rt runtime.Runtime)) mutant {
		return mutant{name: name, catches: catches, wrap: func(rt runtime.Runtime) runtime.Runtime {
			f := &fake{Runtime: rt}
			change(f, rt)
			return f
		}}
	}
	ctx := context.Background()
	view := func(change func(c *runtime.Container)) func(f *fake, _ runtime.Runtime) {
		return func(f *fake, _ runtime.Runtime) { f.view = change }
	}
	spec := func(change func(s *runtime.Spec)) func(f *fake, rt runtime.Runtime) {
		return func(f *fake, rt runtime.Runtime) {
			f.start = func(ctx context.Context, s runtime.Spec) (runtime.Container, error) {
				change(&s)
				return rt.Start(ctx, s)
			}
		}
	}
	lines := func(change func(i int, l *runtime.LogLine) bool) func(f *fake, rt runtime.Runtime) {
		return func(f *fake, rt runtime.Runtime) {
			f.logs = func(ctx context.Context, name string, o runtime.LogOptions) iter.Seq2[runtime.LogLine, error] {
				return func(yield func(runtime.LogLine, error) bool) {
					i := 0
					for l, err := range rt.Logs(ctx, name, o) {
						keep := change(i, &l)
						i++
						if keep && !yield(l, err) {
							return
						}
					}
				}
			}
		}
	}
	exec := func(change func(x *runtime.Exec)) func(f *fake, rt runtime.Runtime) {
		return func(f *fake, rt runtime.Runtime) {
			f.exec = func(ctx context.Context, name string, x runtime.Exec) (int, error) {
				change(&x)
				return rt.Exec(ctx, name, x)
			}
		}
	}
	return []mutant{
		of("declares no ports", "a pulled image", func(f *fake, rt runtime.Runtime) {
			f.pull = func(p runtime.PullRequest) (runtime.Image, error) {
				im, err := rt.Pull(ctx, p)
				im.Ports = nil
				return im, err
			}
		}),
		of("makes up images", "an absent image", func(f *fake, rt runtime.Runtime) {
			f.pull = func(p runtime.PullRequest) (runtime.Image, error) {
				im, err := rt.Pull(ctx, p)
				if im.Digest == "" {
					im.Digest, err = "sha256:0", nil
				}
				return im, err
			}
		}),
		of("says the password", "a private image", func(f *fake, rt runtime.Runtime) {
			f.pull = func(p runtime.PullRequest) (runtime.Image, error) {
				im, err := rt.Pull(ctx, p)
				if err != nil && p.Credentials != nil {
					err = errors.Join(err, errors.New(p.Credentials.Password))
				}
				return im, err
			}
		}),
		of("says that an image is not there in its own words", "an image not pulled", func(f *fake, rt runtime.Runtime) {
			f.start = func(ctx context.Context, s runtime.Spec) (runtime.Container, error) {
				c, err := rt.Start(ctx, s)
				if err != nil {
					err = errors.New(err.Error())
				}
				return c, err
			}
		}),
		of("forgets labels", "a started container", view(func(c *runtime.Container) { c.Labels = nil })),
		of("starts again", "starting twice", func(f *fake, rt runtime.Runtime) {
			f.start = func(ctx context.Context, s runtime.Spec) (runtime.Container, error) {
				return runtime.Container{}, errors.Join(rt.Remove(ctx, s.Name), startErr(rt.Start(ctx, s)))
			}
		}),
		of("refuses the second", "starting at the same time", func(f *fake, rt runtime.Runtime) {
			f.start = func(ctx context.Context, s runtime.Spec) (runtime.Container, error) {
				if _, err := rt.Inspect(ctx, s.Name); err == nil {
					return runtime.Container{}, errors.New("exists")
				}
				return rt.Start(ctx, s)
			}
		}),
		of("corrects specs", "an invalid spec", spec(func(s *runtime.Spec) {
			if s.Validate() != nil {
				*s = runtime.Spec{Name: "a", Image: s.Image}
			}
		})),
		of("does without the network", "a network that is not there", spec(func(s *runtime.Spec) {
			if s.Network == "absent" {
				s.Network = ""
			}
		})),
		of("ignores cancellation", "a start with an ended context", func(f *fake, rt runtime.Runtime) {
			f.start = func(ctx context.Context, s runtime.Spec) (runtime.Container, error) {
				return rt.Start(context.WithoutCancel(ctx), s)
			}
		}),
		of("retains labels", "arguments are not retained", func(f *fake, rt runtime.Runtime) {
			kept := map[string]string{}
			f.start = func(ctx context.Context, s runtime.Spec) (runtime.Container, error) {
				kept = s.Labels
				return rt.Start(ctx, s)
			}
			f.view = func(c *runtime.Container) { c.Labels = kept }
		}),
		of("keeps the image's environment only", "what runs and its surroundings", spec(func(s *runtime.Spec) { s.Env = nil })),
		of("kills at once", "stopping", func(f *fake, rt runtime.Runtime) {
			f.view = func(c *runtime.Container) {
				if c.State == runtime.Exited {
					c.ExitCode = 137
				}
			}
		}),
		of("has no patience", "stopping the stubborn", func(f *fake, rt runtime.Runtime) {
			f.stop = func(ctx context.Context, name string, _ time.Duration) error { return rt.Stop(ctx, name, 0) }
		}),
		of("complains of nothing to stop", "stopping nothing", func(f *fake, rt runtime.Runtime) {
			f.stop = func(ctx context.Context, name string, d time.Duration) error {
				if _, err := rt.Inspect(ctx, name); err != nil {
					return err
				}
				return rt.Stop(ctx, name, d)
			}
		}),
		of("removes only what is there", "removing", func(f *fake, rt runtime.Runtime) {
			f.remove = func(name string) error {
				if _, err := rt.Inspect(ctx, name); err != nil {
					return err
				}
				return rt.Remove(ctx, name)
			}
		}),
		of("says 1 for every failure", "an exit code", view(func(c *runtime.Container) { c.ExitCode = min(c.ExitCode, 1) })),
		of("makes a network anew", "a network twice", func(f *fake, _ runtime.Runtime) {
			n := byte(0)
			f.network = func(w runtime.Network, err error) (runtime.Network, error) {
				n++
				w.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n, 0, 0}), 24)
				return w, err
			}
		}),
		of("deletes a network in use", "deleting networks", func(f *fake, rt runtime.Runtime) {
			f.delete = func(name string) error {
				_ = rt.DeleteNetwork(ctx, name)
				return nil
			}
		}),
		of("adds names and takes none back", "names", func(f *fake, rt runtime.Runtime) {
			all := map[string][]netip.Addr{}
			f.hosts = func(network string, hosts map[string][]netip.Addr) error {
				for k, v := range hosts {
					all[k] = v
				}
				return rt.SetHosts(ctx, network, all)
			}
		}),
		of("names nothing without complaint", "names of no network", func(f *fake, rt runtime.Runtime) {
			f.hosts = func(network string, hosts map[string][]netip.Addr) error {
				_ = rt.SetHosts(ctx, network, hosts)
				return nil
			}
		}),
		of("knows no names", "neighbours", func(f *fake, _ runtime.Runtime) {
			f.hosts = func(string, map[string][]netip.Addr) error { return nil }
		}),
		of("has one network for all", "walls", spec(func(s *runtime.Spec) {
			if s.Network == "two" || s.Network == "" {
				s.Network = "one"
			}
		})),
		of("has its own word for absence", "an absent container", func(f *fake, _ runtime.Runtime) { f.missing = errors.New("absent") }),
		of("lists in reverse", "the list", func(f *fake, _ runtime.Runtime) {
			f.list = func(l []runtime.Container) []runtime.Container {
				for i, j := 0, len(l)-1; i < j; i, j = i+1, j-1 {
					l[i], l[j] = l[j], l[i]
				}
				return l
			}
		}),
		of("tells of the first change only", "watching", func(f *fake, rt runtime.Runtime) {
			f.watch = func(ctx context.Context) iter.Seq2[string, error] {
				all := rt.Watch(ctx)
				return func(yield func(string, error) bool) {
					for name, err := range all {
						yield(name, err)
						<-ctx.Done()
						return
					}
				}
			}
		}),
		of("calls the end of a watch an error", "watching ends", func(f *fake, _ runtime.Runtime) {
			f.watch = func(ctx context.Context) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					<-ctx.Done()
					yield("", ctx.Err())
				}
			}
		}),
		of("kills at close", "closing", func(f *fake, rt runtime.Runtime) {
			f.close = func() error { return errors.Join(rt.Stop(ctx, "a", 0), rt.Close()) }
		}),
		of("forgets at close", "reopening", func(f *fake, rt runtime.Runtime) {
			f.close = func() error { return errors.Join(rt.Remove(ctx, "a"), rt.Close()) }
		}),
		of("does not know what happened", "an end while nobody looked", view(func(c *runtime.Container) { c.ExitCode = -1 })),
		of("loses a line", "logs", lines(func(i int, _ *runtime.LogLine) bool { return i != 7 })),
		of("mixes streams", "streams in logs", lines(func(_ int, l *runtime.LogLine) bool { l.Stderr = false; return true })),
		of("does not follow", "following logs", func(f *fake, rt runtime.Runtime) {
			f.logs = func(ctx context.Context, name string, o runtime.LogOptions) iter.Seq2[runtime.LogLine, error] {
				o.Follow = false
				o.Tail = 0
				return rt.Logs(ctx, name, o)
			}
		}),
		of("reports the end of following", "following ends", func(f *fake, rt runtime.Runtime) {
			f.logs = func(ctx context.Context, name string, o runtime.LogOptions) iter.Seq2[runtime.LogLine, error] {
				return func(yield func(runtime.LogLine, error) bool) {
					for l, err := range rt.Logs(ctx, name, o) {
						if !yield(l, err) {
							return
						}
					}
					if ctx.Err() != nil {
						yield(runtime.LogLine{}, ctx.Err())
					}
				}
			}
		}),
		of("keeps logs without bound", "bounded logs", spec(func(s *runtime.Spec) { s.Resources.LogBytes = 0 })),
		of("drops standard error", "exec", exec(func(x *runtime.Exec) { x.Stderr = nil })),
		of("runs nothing gladly", "exec of nothing", func(f *fake, rt runtime.Runtime) {
			f.exec = func(ctx context.Context, name string, x runtime.Exec) (int, error) {
				code, err := rt.Exec(ctx, name, x)
				if errors.Is(err, runtime.ErrInvalid) {
					return 0, nil
				}
				return code, err
			}
		}),
		of("calls an ended container absent", "exec in an ended container", func(f *fake, rt runtime.Runtime) {
			f.exec = func(ctx context.Context, name string, x runtime.Exec) (int, error) {
				code, err := rt.Exec(ctx, name, x)
				if errors.Is(err, runtime.ErrNotRunning) {
					err = runtime.ErrNotFound
				}
				return code, err
			}
		}),
		of("calls a killed command a success", "exec ends with its context", func(f *fake, rt runtime.Runtime) {
			f.exec = func(ctx context.Context, name string, x runtime.Exec) (int, error) {
				code, err := rt.Exec(ctx, name, x)
				if errors.Is(err, context.Canceled) {
					return 0, nil
				}
				return code, err
			}
		}),
		of("has a terminal of one size", "a terminal", exec(func(x *runtime.Exec) {
			one := make(chan runtime.TerminalSize, 1)
			one <- <-x.Resize
			close(one)
			x.Resize = one
		})),
	}
}

func startErr(_ runtime.Container, err error) error { return err }

func TestTheRegistryGivesAPrivateImageOnlyToItsAccount(t *testing.T) {
	r, err := runtimetest.NewRegistry()
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	public, err := r.Push(t.Context(), "guest:1", empty.Image)
	require.NoError(t, err)
	private, err := r.PushPrivate(t.Context(), "guest:1", empty.Image)
	require.NoError(t, err)
	fetch := func(ref string, auth authn.Authenticator) error {
		n, err := name.ParseReference(ref)
		require.NoError(t, err)
		_, err = remote.Get(n, remote.WithAuth(auth))
		return err
	}
	require.NoError(t, fetch(public, authn.Anonymous))
	require.Error(t, fetch(private, authn.Anonymous))
	require.Error(t, fetch(private, &authn.Basic{Username: r.Username, Password: "wrong"}))
	require.NoError(t, fetch(private, &authn.Basic{Username: r.Username, Password: r.Password}))
}
