# qemu with Debian's own kernel: everything works; without hardware help (KVM) everything is slow. Sourced by engine/run.
# `qemu-kvm` is a machine of its own among the engines: a /dev/kvm that is there may still not run a guest, and then says nothing.
#
# The kernel package is downloaded and unpacked below build/lab/, not installed. The caller's root is shared over 9p,
# read-only, below a layer in memory; the project's folder and the job's folder are shared once more, writable.
# Traps: a program takes 10 to 20 times as long; the -cloud- kernels have no 9p; without multidevs=remap
# two files of different disks may look like one.

qemu_kernel_folder=$root/build/lab/kernel

qemu_missing() {
    if ! command -v qemu-system-x86_64 >/dev/null; then
        echo "qemu is not installed (package qemu-system-x86)"
    elif ! command -v busybox >/dev/null || ! command -v modprobe >/dev/null; then
        echo "busybox or modprobe is not installed (packages busybox-static, kmod)"
    elif [ "$(uname -m)" != x86_64 ]; then
        echo "this machine is not an x86_64"
    fi
}

# Downloads the kernel unless it is there. Sets qemu_kernel, its version.
qemu_get_kernel() {
    local package
    if [ ! -e "$qemu_kernel_folder/ready" ]; then
        package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
        [ -n "$package" ] || { say "apt knows no package linux-image-amd64; run apt-get update"; exit 125; }
        say "downloading $package (70 MB, once) into $qemu_kernel_folder"
        rm -rf "$qemu_kernel_folder"
        mkdir -p "$qemu_kernel_folder"
        (
            cd "$qemu_kernel_folder"
            apt-get download -q -o APT::Sandbox::User=root "$package" >&2
            dpkg -x "$package"_*.deb . && rm "$package"_*.deb
            depmod -b . "$(ls lib/modules)"
            touch ready
        ) || { say "the kernel could not be downloaded; see apt-get's message above"; exit 125; }
    fi
    qemu_kernel=$(ls "$qemu_kernel_folder/lib/modules")
}

# The first file system: busybox, the modules that reach the caller's root, and what to share where.
qemu_make_initramfs() {
    local folder=$job/initramfs module
    mkdir -p "$folder"/{bin,modules,proc,sys,dev,host,layer,newroot}
    cp "$(command -v busybox)" "$folder/bin/busybox"
    cp "$here/qemu-init" "$folder/init"
    for module in $(modprobe -d "$qemu_kernel_folder" -S "$qemu_kernel" --show-depends -a virtio_pci 9p 9pnet_virtio overlay |
        sed -n 's/^insmod //p'); do
        cp "$module" "$folder/modules/"
        basename "$module"
    done | awk '!seen[$0]++' >"$folder/modules/order"
    printf '%s\n' "$job" >"$folder/job"
    printf '%s\n' "${qemu_shares[@]}" >"$folder/shares"
    (cd "$folder" && find . | busybox cpio -o -H newc 2>/dev/null) >"$job/initramfs.img"
}

qemu_command() {
    local shared=() number=0 folder accel=tcg,thread=multi
    boot_seconds=240
    if [ "$engine" = qemu-kvm ]; then
        accel=kvm boot_seconds=20
    fi
    qemu_get_kernel
    qemu_shares=("$root" "$job" ${KOI_BUILD:+"$KOI_BUILD"})
    qemu_make_initramfs
    for folder in "${qemu_shares[@]}"; do
        shared+=(-virtfs "local,path=${folder//,/,,},mount_tag=share$number,security_model=none,multidevs=remap")
        number=$((number + 1))
    done
    local output=(-chardev "file,id=out,path=$job/out" -chardev "file,id=err,path=$job/err")
    [ "$tty" = no ] || output=(-chardev stdio,id=out,signal=off -chardev null,id=err)
    guest=(qemu-system-x86_64 -machine q35 -accel "${KOI_QEMU_ACCEL:-$accel}" -cpu max -smp 2
        -m "${KOI_ENGINE_MEMORY:-1024}" -nodefaults -display none -no-reboot
        -kernel "$qemu_kernel_folder/boot/vmlinuz-$qemu_kernel" -initrd "$job/initramfs.img"
        -append "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check koi_serial_from_1"
        -serial "file:$job/console" "${output[@]}" -serial chardev:out -serial chardev:err
        -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" "${shared[@]}")
}
