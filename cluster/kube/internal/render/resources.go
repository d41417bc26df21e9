package render

import (
	"math"
	"math/bits"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Names of storage classes of the market.
const (
	classRAM     = "ram"
	classDefault = "default"
)

// amounts are what one replica uses.
type amounts struct{ cpu, memory, disk uint64 }

// amountsOf adds up what a replica uses. Volumes in memory count as memory, as
// the inventory counts them.
func amountsOf(r market.Resources) amounts {
	a := amounts{cpu: r.CPU.MilliCores, memory: r.Memory.Bytes}
	for _, v := range r.Storage {
		switch {
		case v.Class() == classRAM:
			a.memory = add(a.memory, v.Bytes)
		case !v.Persistent():
			a.disk = add(a.disk, v.Bytes)
		}
	}
	return a
}

// add adds and stays at the largest number of a quantity instead of wrapping.
func add(a, b uint64) uint64 {
	if s := a + b; s >= a && s <= math.MaxInt64 {
		return s
	}
	return math.MaxInt64
}

// committed is what is requested of n that is sold more than once: n * 100 /
// percent, rounded up, so that as many replicas as the inventory promises find
// room and never more. 0 is 100 percent.
func committed(n uint64, percent uint32) uint64 {
	if percent <= 100 || n == 0 {
		return n
	}
	hi, lo := bits.Mul64(n, 100)
	q, rest := bits.Div64(hi, lo, uint64(percent))
	if rest > 0 {
		q++
	}
	return q
}

func bytesQuantity(n uint64) resource.Quantity {
	return *resource.NewQuantity(int64(min(n, math.MaxInt64)), resource.BinarySI)
}

func milliQuantity(n uint64) resource.Quantity {
	return *resource.NewMilliQuantity(int64(min(n, math.MaxInt64)), resource.DecimalSI)
}

// list makes the resources of a container; a disk of 0 is not bounded.
func (a amounts) list() corev1.ResourceList {
	l := corev1.ResourceList{corev1.ResourceCPU: milliQuantity(a.cpu), corev1.ResourceMemory: bytesQuantity(a.memory)}
	if a.disk > 0 {
		l[corev1.ResourceEphemeralStorage] = bytesQuantity(a.disk)
	}
	return l
}

// requests are amounts after over-commit.
func (r *renderer) requests(a amounts) amounts {
	o := r.o.Overcommit
	return amounts{committed(a.cpu, o.CPUPercent), committed(a.memory, o.MemoryPercent), committed(a.disk, o.EphemeralPercent)}
}

// resources are requests and limits of a container. Only requests are
// over-committed; cards never are.
func (r *renderer) resources(s manifest.Service) *core.ResourceRequirementsApplyConfiguration {
	a := amountsOf(s.Resources)
	limits, requests := a.list(), r.requests(a).list()
	out := &core.ResourceRequirementsApplyConfiguration{Limits: &limits, Requests: &requests}
	if s.Resources.GPU.Units == 0 {
		return out
	}
	choice := r.in.Resolution.GPU[s.Name]
	if choice.Class != "" {
		out.Claims = []core.ResourceClaimApplyConfiguration{{Name: new(claimName)}}
		return out
	}
	name := GPUResource(choice.Vendor)
	limits[name], requests[name] = gpuQuantity(s), gpuQuantity(s)
	return out
}

// GPUResource is what the device plugin of a vendor calls its cards.
func GPUResource(vendor string) corev1.ResourceName {
	if vendor == "intel" {
		return "gpu.intel.com/i915"
	}
	return corev1.ResourceName(vendor + ".com/gpu")
}

func gpuQuantity(s manifest.Service) resource.Quantity {
	return *resource.NewQuantity(int64(min(s.Resources.GPU.Units, math.MaxInt64)), resource.DecimalSI)
}

// quotaFactor is how often what is leased may exist at once: a rolling update
// runs old and new side by side, and what ends still counts. Limits are bounded,
// which are what is leased; requests never exceed them, and differ between old
// and new when the operator changes the over-commit.
const quotaFactor = 2

// What a quota leaves for controllers of the cluster that put small things
// beside a lease for a while, such as the answers to a certificate authority.
const (
	slackObjects = 4
	slackCPU     = 200
	slackMemory  = 256 << 20
)

// quota bounds what a lease may have in all.
func (r *renderer) quota() {
	var limits amounts
	var pods, claims uint64
	var storage uint64
	times := func(n, by uint64) uint64 {
		hi, lo := bits.Mul64(n, by)
		if hi > 0 {
			return math.MaxInt64
		}
		return min(lo, math.MaxInt64)
	}
	for _, s := range r.in.Workload.Group.Services {
		n := uint64(s.Count)
		a := amountsOf(s.Resources)
		pods += n
		limits = amounts{add(limits.cpu, times(a.cpu, n)), add(limits.memory, times(a.memory, n)), add(limits.disk, times(a.disk, n))}
		for _, v := range s.Resources.Storage {
			if v.Persistent() && v.Class() != classRAM {
				claims += n
				storage = add(storage, times(v.Bytes, n))
			}
		}
	}
	hard := corev1.ResourceList{
		"pods":                                *resource.NewQuantity(int64(pods*quotaFactor+slackObjects), resource.DecimalSI),
		"limits.cpu":                          milliQuantity(add(times(limits.cpu, quotaFactor), slackCPU)),
		"limits.memory":                       bytesQuantity(add(times(limits.memory, quotaFactor), slackMemory)),
		corev1.ResourceServices:               *resource.NewQuantity(r.serviceObjects()+slackObjects, resource.DecimalSI),
		corev1.ResourceServicesNodePorts:      *resource.NewQuantity(r.nodePorts(), resource.DecimalSI),
		"persistentvolumeclaims":              *resource.NewQuantity(int64(claims*quotaFactor), resource.DecimalSI),
		corev1.ResourceRequestsStorage:        bytesQuantity(times(storage, quotaFactor)),
		corev1.ResourceReplicationControllers: *resource.NewQuantity(0, resource.DecimalSI),
	}
	k := Quotas()
	r.add(k, quotaName, "", &core.ResourceQuotaApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, quotaName, "", nil),
		Spec: &core.ResourceQuotaSpecApplyConfiguration{Hard: &hard},
	})
}

const quotaName = "moorage-lease"
