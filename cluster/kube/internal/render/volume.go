package render

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// mountOf says where a volume is mounted; nil is nowhere.
func mountOf(s manifest.Service, volume string) *manifest.StorageParams {
	if s.Params == nil {
		return nil
	}
	for i := range s.Params.Storage {
		if s.Params.Storage[i].Name == volume {
			return &s.Params.Storage[i]
		}
	}
	return nil
}

// volumes are those of a pod. Persistent ones come from the claims of the
// StatefulSet. A volume in memory that is mounted at /dev/shm is the shared
// memory. An ephemeral volume that is mounted nowhere is the room of the
// container's own files and only counts.
func volumes(s manifest.Service) []core.VolumeApplyConfiguration {
	var out []core.VolumeApplyConfiguration
	for _, v := range s.Resources.Storage {
		if mountOf(s, v.Name) == nil || persistent(v) {
			continue
		}
		dir := &core.EmptyDirVolumeSourceApplyConfiguration{SizeLimit: new(bytesQuantity(v.Bytes))}
		if v.Class() == classRAM {
			dir.Medium = new(corev1.StorageMediumMemory)
		}
		out = append(out, core.VolumeApplyConfiguration{
			Name: new(volumeName(v.Name)), VolumeSourceApplyConfiguration: core.VolumeSourceApplyConfiguration{EmptyDir: dir},
		})
	}
	return out
}

// persistent reports whether a volume outlives its container.
func persistent(v market.Volume) bool { return v.Persistent() && v.Class() != classRAM }

func mounts(s manifest.Service) []core.VolumeMountApplyConfiguration {
	var out []core.VolumeMountApplyConfiguration
	for _, v := range s.Resources.Storage {
		p := mountOf(s, v.Name)
		if p == nil {
			continue
		}
		m := core.VolumeMountApplyConfiguration{Name: new(volumeName(v.Name)), MountPath: new(strings.TrimRight(p.Mount, "/"))}
		if p.ReadOnly {
			m.ReadOnly = new(true)
		}
		out = append(out, m)
	}
	return out
}

// claims are the persistent volumes of each replica. One that is mounted nowhere
// is kept all the same: the tenant pays for it and may mount it later.
func (r *renderer) claims(s manifest.Service) []core.PersistentVolumeClaimApplyConfiguration {
	var out []core.PersistentVolumeClaimApplyConfiguration
	for _, v := range s.Resources.Storage {
		if !persistent(v) {
			continue
		}
		c := core.PersistentVolumeClaim(volumeName(v.Name), "").WithLabels(r.labels(s.Name))
		c.Namespace, c.Kind, c.APIVersion = nil, nil, nil
		c.Spec = &core.PersistentVolumeClaimSpecApplyConfiguration{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			VolumeMode:  new(corev1.PersistentVolumeFilesystem),
			Resources: &core.VolumeResourceRequirementsApplyConfiguration{
				Requests: &corev1.ResourceList{corev1.ResourceStorage: bytesQuantity(v.Bytes)},
			},
		}
		if class := r.o.StorageClass(v.Class()); class != "" {
			c.Spec.StorageClassName = &class
		}
		out = append(out, *c)
	}
	return out
}

// StorageClass translates a class of the market; "" is the cluster's default.
func (o *Options) StorageClass(class string) string {
	if class == "" {
		class = classDefault
	}
	if mapped, ok := o.StorageClasses[class]; ok {
		return mapped
	}
	if class == classDefault {
		return ""
	}
	return class
}
