use multiproc_process::Process;
fn main() {
    let _main = multiproc_process::init();
    #[cfg(a)]
    {
        let name = String::from("x");
        let _ = Process::spawn(move |n: u32| println!("{n} {name}"), 7);
    }
    #[cfg(b)]
    {
        let n = 3u64;
        let _ = Process::spawn(move |m: u32| println!("{n} {m}"), 7);
    }
    #[cfg(c)]
    {
        let name = String::from("x");
        let _ = Process::spawn(|n: u32| println!("{n} {name}"), 7);
    }
    #[cfg(d)]
    {
        let name = String::from("x");
        let _ = Process::spawn(|| println!("{name}"), ());
    }
    #[cfg(e)]
    {
        let _ = Process::spawn(|n| println!("{n}"), 7u32);
    }
    #[cfg(f)]
    {
        let name = String::from("x");
        let _ = Process::spawn(move || println!("{name}"), ());
    }
}
