package runtime_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

func good() runtime.Spec { return runtime.Spec{Name: "web-1", Image: "sha256:0"} }

func TestSpecsThatCannotRunAreInvalid(t *testing.T) {
	many := map[string]string{}
	for i := range runtime.MaxLabels + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for name, change := range map[string]func(s *runtime.Spec){
		"no name":               func(s *runtime.Spec) { s.Name = "" },
		"upper case":            func(s *runtime.Spec) { s.Name = "Web" },
		"a slash":               func(s *runtime.Spec) { s.Name = "../etc" },
		"a long name":           func(s *runtime.Spec) { s.Name = strings.Repeat("a", 65) },
		"no image":              func(s *runtime.Spec) { s.Image = "" },
		"a bad network":         func(s *runtime.Spec) { s.Network = "a b" },
		"a bad host name":       func(s *runtime.Spec) { s.Hostname = "a\nb" },
		"many labels":           func(s *runtime.Spec) { s.Labels = many },
		"a long label":          func(s *runtime.Spec) { s.Labels = map[string]string{"k": strings.Repeat("v", 4096)} },
		"an env without name":   func(s *runtime.Spec) { s.Env = []string{"=x"} },
		"an env without value":  func(s *runtime.Spec) { s.Env = []string{"X"} },
		"a zero byte":           func(s *runtime.Spec) { s.Args = []string{"a\x00b"} },
		"a negative limit":      func(s *runtime.Spec) { s.Resources.PIDs = -1 },
		"a limit beyond bounds": func(s *runtime.Spec) { s.Resources.MemoryBytes = 1 << 63 },
		"a relative mount":      func(s *runtime.Spec) { s.Mounts = []runtime.Mount{{Target: "x", Tmpfs: true}} },
		"a mount over all":      func(s *runtime.Spec) { s.Mounts = []runtime.Mount{{Target: "/", Tmpfs: true}} },
		"a mount in /proc":      func(s *runtime.Spec) { s.Mounts = []runtime.Mount{{Target: "/proc/sys", Tmpfs: true}} },
		"a climbing mount":      func(s *runtime.Spec) { s.Mounts = []runtime.Mount{{Target: "/a/../proc", Tmpfs: true}} },
		"a climbing volume":     func(s *runtime.Spec) { s.Mounts = []runtime.Mount{{Target: "/a", Volume: ".."}} },
		"a mount of nothing":    func(s *runtime.Spec) { s.Mounts = []runtime.Mount{{Target: "/a"}} },
		"a mount of two things": func(s *runtime.Spec) { s.Mounts = []runtime.Mount{{Target: "/a", Tmpfs: true, Volume: "v"}} },
		"two mounts at a place": func(s *runtime.Spec) {
			s.Mounts = []runtime.Mount{{Target: "/a", Tmpfs: true}, {Target: "/a", Volume: "v"}}
		},
	} {
		s := good()
		require.NoError(t, s.Validate())
		change(&s)
		require.ErrorIs(t, s.Validate(), runtime.ErrInvalid, name)
	}
	s := good()
	s.Mounts = []runtime.Mount{{Target: "/dev/shm", Tmpfs: true, Bytes: 1 << 30}}
	require.NoError(t, s.Validate(), "shared memory may be made larger")
}

func TestALowMemoryLimitIsRaisedToWhatStartingTakes(t *testing.T) {
	assert.Zero(t, runtime.Resources{}.MemoryLimit())
	assert.Equal(t, uint64(runtime.MinMemoryBytes), runtime.Resources{MemoryBytes: 1}.MemoryLimit())
	assert.Equal(t, uint64(1<<30), runtime.Resources{MemoryBytes: 1 << 30}.MemoryLimit())
}

func TestCredentialsNeverPrintTheirPassword(t *testing.T) {
	c := runtime.Credentials{Host: "ghcr.io", Username: "ann", Password: "s3cret"}
	p := runtime.PullRequest{Credentials: &c}
	data, err := json.Marshal(p.Credentials)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("pull", "credentials", c, "pointer", &c)
	for _, text := range []string{
		c.String(), fmt.Sprint(c), fmt.Sprintf("%+v %#v %v %s %q", c, c, &c, c, c), fmt.Sprintf("%+v", errors.Join(fmt.Errorf("%v", c))), string(data), log.String(),
	} {
		assert.NotContains(t, text, "s3cret")
		assert.NotContains(t, text, "ann")
	}
	assert.Contains(t, c.String(), "ghcr.io")
}

func ExampleSpec_Validate() {
	err := runtime.Spec{Name: "Not A Name"}.Validate()
	fmt.Println(errors.Is(err, runtime.ErrInvalid))
	fmt.Println(err)
	// Output:
	// true
	// runtime: invalid spec: name "Not A Name": only a-z, 0-9 and '-'
}
