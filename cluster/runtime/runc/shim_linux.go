//go:build cgo

package runc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/runtime"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/plan"
	"github.com/moorage-dev/moorage/cluster/runtime/runc/internal/shim"
)

const (
	// probeTime bounds asking a shim what it can do.
	probeTime = 10 * time.Second
	// startTime bounds the start of one container; the usual is under 0.2 s.
	startTime = 60 * time.Second
	// maxShimLog bounds what of a dead shim's last words goes into an error.
	maxShimLog = 1 << 10
)

// shimProgram is a moorage-shim and what it said of itself.
type shimProgram struct {
	path string
	plan.Probe
}

// findShim finds the program and checks that it fits.
func findShim(cfg Config) (shimProgram, error) {
	path, err := shimPath(cfg)
	if err != nil {
		return shimProgram{}, err
	}
	p := shimProgram{path: path}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	cmd := p.command(ctx, shim.VerbProbe, cfg.Dir)
	var errText bytes.Buffer
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &p.Probe)
	}
	if err != nil {
		return p, unsupported(fmt.Sprintf("%s is no moorage-shim that works here (%v: %.200s); build it with: go build -tags seccomp ./cluster/runtime/runc/moorage-shim", path, err, errText.String()))
	}
	if p.Protocol != plan.Protocol {
		return p, unsupported(fmt.Sprintf("%s speaks protocol %d, this program %d; build both from one version", path, p.Protocol, plan.Protocol))
	}
	if !p.Seccomp && !cfg.WithoutSeccomp {
		return p, unsupported(path + " was built without seccomp, so strangers' system calls could not be filtered; install libseccomp-dev and build it with -tags seccomp (or set WithoutSeccomp where all tenants are trusted)")
	}
	return p, nil
}

func shimPath(cfg Config) (string, error) {
	if cfg.Shim != "" {
		if _, err := os.Stat(cfg.Shim); err != nil {
			return "", unsupported(fmt.Sprintf("the shim: %v; build it with: go build -tags seccomp ./cluster/runtime/runc/moorage-shim", err))
		}
		return filepath.Abs(cfg.Shim)
	}
	self, err := os.Executable()
	if err == nil {
		beside := filepath.Join(filepath.Dir(self), shim.Name)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(shim.Name); err == nil {
		return filepath.Abs(path)
	}
	if cfg.SelfShim && self != "" {
		return self, nil
	}
	return "", unsupported("moorage-shim not found next to this program or in PATH; build it with: go build -tags seccomp ./cluster/runtime/runc/moorage-shim")
}

// command prepares a run of the shim, with nothing of this process's environment
// but where programs are.
func (p shimProgram) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Args[0] = shim.Name
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=2"}
	return cmd
}

// start runs the container planned in dir and returns once it runs. The shim is
// left to itself. Not interrupted by a context: an answer comes soon, and half a
// start would have to be found and undone.
func (p shimProgram) start(dir string) (plan.Running, error) {
	answer, theirs, err := os.Pipe()
	if err != nil {
		return plan.Running{}, fmt.Errorf("runc: %w", err)
	}
	defer func() { _ = answer.Close() }()
	if err := p.spawn(dir, theirs); err != nil {
		return plan.Running{}, fmt.Errorf("runc: start the shim: %w: %s", err, lastWords(dir))
	}
	_ = answer.SetReadDeadline(time.Now().Add(startTime))
	var s plan.Started
	err = json.NewDecoder(io.LimitReader(answer, plan.MaxMessage)).Decode(&s)
	switch {
	case err != nil:
		return s.Running, fmt.Errorf("runc: the shim did not start the container: %w: %s", err, lastWords(dir))
	case s.Error != "" && s.Invalid:
		return s.Running, fmt.Errorf("%w: %s", runtime.ErrInvalid, s.Error)
	case s.Error != "":
		return s.Running, fmt.Errorf("runc: start: %s", s.Error)
	}
	return s.Running, nil
}

func (p shimProgram) spawn(dir string, answer *os.File) error {
	defer func() { _ = answer.Close() }()
	log, err := os.OpenFile(filepath.Join(dir, plan.ShimLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	cmd := p.command(ctx, shim.VerbSpawn, dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{answer}
	return cmd.Run()
}

// lastWords is the end of what a shim wrote about itself.
func lastWords(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, plan.ShimLog))
	if err != nil || len(data) == 0 {
		return "it left no message"
	}
	data = data[max(0, len(data)-maxShimLog):]
	return strings.TrimSpace(string(data))
}

var errShimGone = errors.New("runc: the container's shim is gone")
