package kube

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/market"
)

// Labels by which an operator says what cards a node has, where no discovery of
// the maker's does or where it says it wrongly. The vendor is part of the label:
// "moorage.dev/gpu-model.nvidia".
const (
	labelGPUModel     = "moorage.dev/gpu-model."
	labelGPUMemory    = "moorage.dev/gpu-memory-gib."
	labelGPUInterface = "moorage.dev/gpu-interface."
)

// discovered are the labels by which the makers' own discovery says what cards
// a node has: NVIDIA's GPU feature discovery, AMD's node labeller.
type discovered struct{ vendor, product, memory string }

func makers() []discovered {
	return []discovered{
		{"nvidia", "nvidia.com/gpu.product", "nvidia.com/gpu.memory"},
		{"amd", "amd.com/gpu.product-name", "amd.com/gpu.vram"},
		{"intel", "gpu.intel.com/product", "gpu.intel.com/memory.max"},
	}
}

// productLabel is the label of a node that names its cards of a vendor: the
// operator's goes first.
func productLabel(labels map[string]string, m discovered) string {
	if labels[labelGPUModel+m.vendor] != "" {
		return labelGPUModel + m.vendor
	}
	return m.product
}

// cardOf is what cards of a vendor a node has, as its labels say.
func cardOf(labels map[string]string, m discovered) inventory.GPU {
	g := parseProduct(m.vendor, labels[m.product])
	if model := labels[labelGPUModel+m.vendor]; model != "" {
		g.Model = strings.ToLower(model)
	}
	const mib, gib = 1 << 20, 1 << 30
	if n, err := strconv.ParseUint(labels[m.memory], 10, 32); err == nil { // MiB, less than what is sold
		g.MemoryBytes = (n*mib + gib - 1) / gib * gib
	} else if n, err := strconv.ParseUint(strings.TrimSuffix(labels[m.memory], "G"), 10, 32); err == nil {
		g.MemoryBytes = n * gib
	}
	if n, err := strconv.ParseUint(labels[labelGPUMemory+m.vendor], 10, 32); err == nil {
		g.MemoryBytes = n * gib
	}
	g.Interface = cmp.Or(strings.ToLower(labels[labelGPUInterface+m.vendor]), g.Interface)
	return g
}

// parseProduct reads a maker's name for a card: "NVIDIA-A100-SXM4-80GB" is model
// a100 with 80 GiB and interface sxm, "NVIDIA-GeForce-RTX-4090" is rtx4090.
func parseProduct(vendor, product string) inventory.GPU {
	g := inventory.GPU{Vendor: vendor}
	var model []string
	for word := range strings.FieldsFuncSeq(strings.ToLower(product), func(r rune) bool { return r == '-' || r == '_' || r == ' ' }) {
		switch {
		case word == vendor || slices.Contains([]string{"tesla", "geforce", "quadro", "instinct", "radeon", "graphics", "shared"}, word):
		case strings.HasPrefix(word, "sxm") || word == "oam":
			g.Interface = "sxm"
		case strings.HasPrefix(word, "pcie"):
			g.Interface = "pcie"
		case strings.HasPrefix(word, "hbm") || word == "nvl":
		case strings.HasSuffix(word, "gb"):
			if n, err := strconv.ParseUint(strings.TrimSuffix(word, "gb"), 10, 16); err == nil {
				g.MemoryBytes = n << 30
			}
		default:
			model = append(model, word)
		}
	}
	g.Model = strings.Join(model, "")
	return g
}

// cards lists the cards of a node: those that its device drivers publish, and
// those that device plugins count, less what others use.
func (d *Driver) cards(n *corev1.Node, allocatable, others corev1.ResourceList) []inventory.GPU {
	out := d.published(n.Name)
	for _, m := range makers() {
		name := render.GPUResource(m.vendor)
		has, used := allocatable[name], others[name]
		for i := range has.Value() - used.Value() {
			g := cardOf(n.Labels, m)
			g.ID = fmt.Sprintf("%s-%d", m.vendor, i)
			out = append(out, g)
		}
	}
	return out
}

// device is a card that a driver of dynamic resource allocation publishes.
type device struct {
	inventory.GPU
	class, node, product string
	key                  [3]string // driver, pool, device
}

// devices lists the published cards of vendors that have a device class.
func (d *Driver) devices() []device {
	if d.store.devices == nil {
		return nil
	}
	classes := make(map[string]bool)
	for _, c := range every[*resourcev1.DeviceClass](d.store.devices) {
		classes[c.Name] = true
	}
	var out []device
	for _, s := range every[*resourcev1.ResourceSlice](d.store.slices) {
		for vendor, class := range d.cfg.DeviceClasses {
			if s.Spec.Driver != class || !classes[class] || s.Spec.NodeName == nil {
				continue
			}
			for _, v := range s.Spec.Devices {
				out = append(out, publishedCard(vendor, class, *s.Spec.NodeName, s.Spec.Pool.Name, v))
			}
		}
	}
	slices.SortFunc(out, func(a, b device) int { return cmp.Or(strings.Compare(a.node, b.node), strings.Compare(a.ID, b.ID)) })
	return out
}

// publishedCard reads what a driver says of a device.
func publishedCard(vendor, class, node, pool string, v resourcev1.Device) device {
	product := ""
	if a := v.Attributes["productName"]; a.StringValue != nil {
		product = *a.StringValue
	}
	g := parseProduct(vendor, product)
	g.ID = pool + "/" + v.Name
	const gib = 1 << 30
	if c, ok := v.Capacity["memory"]; ok && c.Value.Value() > 0 {
		g.MemoryBytes = (uint64(c.Value.Value()) + gib - 1) / gib * gib
	}
	return device{g, class, node, product, [3]string{class, pool, v.Name}}
}

// taken lists the devices that others have, as driver, pool and device.
func (d *Driver) taken() map[[3]string]bool {
	out := make(map[[3]string]bool)
	for _, c := range every[*resourcev1.ResourceClaim](d.store.given) {
		if c.Status.Allocation == nil || d.leaseNamespace(c.Namespace) {
			continue
		}
		for _, r := range c.Status.Allocation.Devices.Results {
			out[[3]string{r.Driver, r.Pool, r.Device}] = true
		}
	}
	return out
}

// leaseNamespace reports whether a namespace is a lease's of this instance.
func (d *Driver) leaseNamespace(name string) bool {
	_, ok, err := d.store.kinds[render.Namespaces().Kind].GetStore().GetByKey(name)
	return ok && err == nil
}

// published lists the cards of a node that drivers publish and others do not have.
func (d *Driver) published(node string) []inventory.GPU {
	taken := d.taken()
	var out []inventory.GPU
	for _, v := range d.devices() {
		if v.node == node && !taken[v.key] {
			out = append(out, v.GPU)
		}
	}
	return out
}

// resolve finds out where the cards of a workload are. The caller holds mu.
func (d *Driver) resolve(w driver.Workload) (render.Resolution, error) {
	var res render.Resolution
	for _, s := range w.Group.Services {
		if s.Resources.GPU.Units == 0 {
			continue
		}
		choice, err := d.choose(s.Resources.GPU.Attributes)
		if err != nil {
			return res, fmt.Errorf("%w: service %s: %w", driver.ErrInvalid, s.Name, err)
		}
		if res.GPU == nil {
			res.GPU = make(map[string]render.GPUChoice)
		}
		res.GPU[s.Name] = choice
	}
	return res, nil
}

// errNoCard is why a workload with cards is refused.
var errNoCard = errors.New("no node has a card that is asked for")

// choose picks the vendor with most acceptable cards, and selects by all names
// under which the cluster has them. Cards of two vendors cannot be asked for in
// one pod.
func (d *Driver) choose(as market.Attributes) (render.GPUChoice, error) {
	type option struct {
		vendor, label, class string
	}
	values, count := make(map[option]map[string]bool), make(map[option]int64)
	note := func(o option, value string, n int64) {
		if values[o] == nil {
			values[o] = make(map[string]bool)
		}
		values[o][value] = true
		count[o] += n
	}
	for _, v := range d.devices() {
		ok, err := inventory.GPUMatches(as, v.GPU)
		if err != nil {
			return render.GPUChoice{}, err
		}
		if ok {
			note(option{vendor: v.Vendor, class: v.class}, v.product, 1)
		}
	}
	for _, n := range every[*corev1.Node](d.store.nodes) {
		for _, m := range makers() {
			has := n.Status.Allocatable[render.GPUResource(m.vendor)]
			if ok, err := inventory.GPUMatches(as, cardOf(n.Labels, m)); err != nil {
				return render.GPUChoice{}, err
			} else if label := productLabel(n.Labels, m); ok && has.Value() > 0 {
				note(option{vendor: m.vendor, label: label}, n.Labels[label], has.Value())
			}
		}
	}
	options := slices.SortedFunc(maps.Keys(count), func(a, b option) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), strings.Compare(b.class, a.class), strings.Compare(a.vendor+a.label, b.vendor+b.label))
	})
	if len(options) == 0 {
		return render.GPUChoice{}, errNoCard
	}
	o := options[0]
	choice := render.GPUChoice{Vendor: o.vendor, Class: o.class, Label: o.label}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(values[o])), func(s string) bool { return s == "" })
	if o.class == "" {
		choice.Values = names
		return choice, nil
	}
	if len(names) > 0 {
		quoted := make([]string, len(names))
		for i, n := range names {
			quoted[i] = strconv.Quote(n)
		}
		choice.Selectors = []string{fmt.Sprintf("device.attributes[%q].productName in [%s]", o.class, strings.Join(quoted, ", "))}
	}
	return choice, nil
}
