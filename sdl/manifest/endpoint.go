package manifest

import (
	"fmt"
	"strconv"
	"strings"
)

// EndpointVariable returns what stands for an endpoint in the names of environment
// variables: the name in capitals, with "_" for every other character than a
// letter or digit.
func EndpointVariable(endpoint string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(endpoint))
}

// EndpointClashes finds endpoints whose environment variables could be the same:
// my-ip and my_ip, or web and web-tcp-80, whose address would stand where a port of
// web does. The result maps the index of a name to another one that it clashes
// with; of two that are alike the first is in order.
func EndpointClashes(names []string) map[int]string {
	first := make(map[string]int, len(names))
	out := map[int]string{}
	for i, n := range names {
		v := EndpointVariable(n)
		if j, ok := first[v]; !ok {
			first[v] = i
		} else if names[j] != n {
			out[i] = names[j]
		}
	}
	for i, n := range names {
		if of, ok := portVariable(EndpointVariable(n)); ok {
			if j, ok := first[of]; ok {
				out[i] = names[j]
			}
		}
	}
	return out
}

// portVariable returns the endpoint that a variable would be a port of.
func portVariable(v string) (of string, ok bool) {
	i := strings.LastIndexByte(v, '_')
	if i < 0 {
		return "", false
	}
	if _, err := strconv.ParseUint(v[i+1:], 10, 16); err != nil {
		return "", false
	}
	for _, proto := range []Protocol{TCP, UDP} {
		if of, ok := strings.CutSuffix(v[:i], "_"+string(proto)); ok {
			return of, true
		}
	}
	return "", false
}

// checkEndpoints tells whether each leased address of a deployment has one name and
// one number: an order pays by number, and an address is had by name.
func checkEndpoints(c *collector, m Manifest) {
	numbers, names := map[string]uint32{}, map[uint32]string{}
	for i := range m {
		for j := range m[i].Services {
			s := &m[i].Services[j]
			c.group, c.service = m[i].Name, s.Name
			for k := range s.Expose {
				e := &s.Expose[k]
				if !e.Global || e.IP == "" {
					continue
				}
				number, named := numbers[e.IP]
				name, numbered := names[e.EndpointSequenceNumber]
				switch {
				case named && number != e.EndpointSequenceNumber:
					c.add(fmt.Sprintf("expose[%d].endpointSequenceNumber", k), num(number)+" as elsewhere for "+clip(e.IP), num(e.EndpointSequenceNumber))
				case numbered && name != e.IP:
					c.add(fmt.Sprintf("expose[%d].ip", k), fmt.Sprintf("%q as elsewhere for number %d", clip(name), e.EndpointSequenceNumber), fmt.Sprintf("%q", clip(e.IP)))
				case !named:
					numbers[e.IP], names[e.EndpointSequenceNumber] = e.EndpointSequenceNumber, e.IP
				}
			}
		}
	}
}
