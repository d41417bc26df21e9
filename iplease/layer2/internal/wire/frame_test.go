package wire

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func self() net.HardwareAddr  { return net.HardwareAddr{2, 0, 0, 0, 0, 1} }
func other() net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, 2} }

func both() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
}

// read parses a frame that was made here.
func read(t *testing.T, b []byte, err error) heard {
	t.Helper()
	require.NoError(t, err)
	h, err := parse(b)
	require.NoError(t, err)
	return h
}

func TestAnAnnouncementSaysWhoHasTheAddressAndAsksNothing(t *testing.T) {
	for _, a := range both() {
		b, err := announcement(self(), a)
		h := read(t, b, err)
		assert.Equal(t, a, h.says)
		assert.Equal(t, self(), h.mac)
		assert.False(t, h.asks.IsValid())
		assert.NotZero(t, b[0]&1, "it is for all neighbours")
	}
}

func TestAQuestionAsksAndSaysNothing(t *testing.T) {
	for _, a := range both() {
		b, err := question(self(), a)
		h := read(t, b, err)
		assert.Equal(t, a, h.asks)
		assert.False(t, h.says.IsValid(), "who asks before it takes an address has none (RFC 5227, RFC 4862)")
		assert.False(t, h.from.IsValid())
	}
}

func TestAReplyGoesToWhoAsked(t *testing.T) {
	for i, a := range both() {
		asker := []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")}[i]
		b, err := reply(self(), heard{asks: a, from: asker, mac: other()})
		h := read(t, b, err)
		assert.Equal(t, a, h.says)
		assert.Equal(t, self(), h.mac)
		assert.Equal(t, other(), net.HardwareAddr(b[:6]))

		b, err = reply(self(), heard{asks: a, mac: other()})
		h = read(t, b, err)
		assert.Equal(t, a, h.says, "who only checks is told too")
	}
}

func TestWhatComesFromAnotherLinkIsNotHeard(t *testing.T) {
	b, err := announcement(self(), both()[1])
	require.NoError(t, err)
	b[etherHeader+7] = 254 // the hop limit: a router has passed it on
	_, err = parse(b)
	require.ErrorIs(t, err, errNotOurs)
}

func FuzzParse(f *testing.F) {
	for _, a := range both() {
		for _, build := range []func(net.HardwareAddr, netip.Addr) ([]byte, error){announcement, question} {
			b, err := build(self(), a)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parse(b)
		if err != nil {
			return
		}
		if h.asks.IsValid() {
			_, _ = reply(self(), h) // it may fail, it must not panic
		}
	})
}
