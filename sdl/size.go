package sdl

import "math/bits"

// manifestSize guesses the bytes of the canonical manifest without making it:
// at least what it will have, but for escapes. A document of a few megabytes can
// name a large service in many placements, and the work of checking and
// building it grows with the product.
func (c *checker) manifestSize() uint64 {
	total := uint64(0)
	for i := range c.doc.Deployment {
		dep := &c.doc.Deployment[i]
		si, ok := c.services.find(dep.Service)
		if !ok {
			continue
		}
		service := c.doc.Services[si].encodedSize()
		for j := range dep.Placements {
			each := service
			if ci, ok := c.compute.find(dep.Placements[j].Profile); ok {
				each += c.doc.Compute[ci].encodedSize()
			}
			sum, carry := bits.Add64(total, each, 0)
			if carry != 0 {
				return ^uint64(0)
			}
			total = sum
		}
	}
	return total
}

// Bytes of the fixed parts of the canonical form.
const (
	serviceBytes = 300
	exposeBytes  = 260
	volumeBytes  = 40
	modelBytes   = 40
	quotesBytes  = 3
)

func listBytes(list []string) uint64 {
	n := uint64(0)
	for _, s := range list {
		n += uint64(len(s)) + quotesBytes
	}
	return n
}

func (s *Service) encodedSize() uint64 {
	n := serviceBytes + uint64(len(s.Name)+len(s.Image)) + listBytes(s.Command) + listBytes(s.Args) + listBytes(s.Env)
	for i := range s.Expose {
		e := &s.Expose[i]
		n += uint64(max(1, len(e.To))) * (exposeBytes + listBytes(e.Accept) + listBytes(e.HTTPOptions.NextCases))
	}
	if s.Params != nil {
		n += uint64(len(s.Params.Storage)) * volumeBytes
	}
	return n
}

func (p *ComputeProfile) encodedSize() uint64 {
	n := uint64(len(p.Storage)) * volumeBytes
	if p.GPU != nil && p.GPU.Attributes != nil {
		n += uint64(len(p.GPU.Attributes.Nvidia)) * modelBytes
	}
	return n
}
