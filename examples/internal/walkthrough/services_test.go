package walkthrough_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/examples/internal/demo"
)

// two is a document of the kind people publish: attributes, an auditor, a price
// in uakt, a page that asks a second service, and a forwarded port.
const two = `---
version: "2.1"
services:
  web:
    image: IMAGE
    env: [PEER=api:8080, GREETING=Front]
    expose:
      - port: 8080
        as: 80
        to: [{global: true}]
    dependencies: [{service: api}]
  api:
    image: IMAGE
    env: [GREETING=Back]
    expose:
      - port: 8080
        to: [{service: web}]
      - port: 8080
        as: 9000
        to: [{global: true}]
profiles:
  compute:
    small:
      resources:
        cpu: {units: 0.2}
        memory: {size: 64Mi}
        storage: {size: 64Mi}
  placement:
    akash:
      attributes: {host: akash}
      signedBy: {anyOf: [akash1365yvmc4s7awdyj3n2sav7xfx76adc6dnmlx63]}
      pricing: {small: {denom: uakt, amount: 1000}}
deployment:
  web: {akash: {profile: small, count: 2}}
  api: {akash: {profile: small, count: 1}}
`

func TestServicesOfAPublishedKindOfDocumentFindEachOther(t *testing.T) {
	needContainers(t)
	registry, err := demo.Start(t.Context(), t.TempDir(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, registry.Close()) })
	file := filepath.Join(t.TempDir(), "two.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(two, "IMAGE", registry.Image())), 0o600))

	p := start(t, free("--once", file, "--exec", "/hello", "--exec", "whoami")...)
	require.Zero(t, p.end(), p.output())
	out := p.output()
	for _, want := range []string{
		"web runs, 2 of 2 ready", "api runs, 1 of 1 ready", "Front from a leased container",
		"port 8080/tcp is at", "GET / from", "uid 65532", "revision 2 runs", "uakt", "adds up",
	} {
		assert.Contains(t, out, want)
	}
	assert.Regexp(t, `log +api/0 .*GET / from 10\.`, out, "the front has asked the back by its name")
}
