package memcluster_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moorage-dev/moorage/cluster/clustertest"
	"github.com/moorage-dev/moorage/cluster/clustertest/guest"
	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/memcluster"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// guestProgram makes the suite's guest a program of a world.
func guestProgram() memcluster.Program {
	process := func(p memcluster.Process, out, errs io.Writer) guest.Process {
		return guest.Process{Getenv: p.Getenv, Hostname: p.Service, Get: p.Get, Stdin: strings.NewReader(""), Stdout: out, Stderr: errs}
	}
	return memcluster.Program{
		Start: func(p memcluster.Process) (lines []driver.LogLine) {
			var out, errs bytes.Buffer
			process(p, &out, &errs).Print()
			for l := range strings.Lines(out.String()) {
				lines = append(lines, driver.LogLine{Text: strings.TrimSuffix(l, "\n")})
			}
			for l := range strings.Lines(errs.String()) {
				lines = append(lines, driver.LogLine{Stderr: true, Text: strings.TrimSuffix(l, "\n")})
			}
			return lines
		},
		Exec: func(ctx context.Context, p memcluster.Process, x driver.Exec) int {
			g := process(p, x.Stdout, x.Stderr)
			g.Args, g.Stdin = x.Command, x.Stdin
			return guest.Main(ctx, g)
		},
		HTTP: func(p memcluster.Process) http.Handler {
			return process(p, io.Discard, io.Discard).Handler(func(int) {})
		},
	}
}

func world() *memcluster.World {
	return memcluster.NewWorld(memcluster.Config{
		Programs:   map[string]memcluster.Program{"guest": guestProgram()},
		ReadyAfter: func(market.LeaseID, manifest.Service) time.Duration { return time.Second },
	})
}

// harness wraps every driver that is opened.
func harness(wrap func(*memcluster.Driver) driver.Driver) clustertest.Harness {
	return clustertest.Harness{
		Run: synctest.Test,
		Abilities: []clustertest.Ability{
			clustertest.Watch, clustertest.Logs, clustertest.Exec, clustertest.Hostnames, clustertest.Reopen,
			clustertest.HTTP, clustertest.Forward, clustertest.Names, clustertest.Isolation, clustertest.Policy,
		},
		New: func(*testing.T) *clustertest.Cluster {
			w := world()
			d := wrap(w.Driver())
			return &clustertest.Cluster{
				Driver: d, Get: w.Get,
				Reopen: func(context.Context) (driver.Driver, error) {
					err := d.Close()
					d = wrap(w.Driver())
					return d, err
				},
			}
		},
	}
}

func TestConformance(t *testing.T) {
	clustertest.Run(t, harness(func(d *memcluster.Driver) driver.Driver { return d }))
}
