// Known workload in C++: 23 objects of each kind by new, alive at once, then deleted.
#include <memory>
#include <new>

struct Plain { char bytes[2203]; };
struct alignas(128) Aligned { char bytes[2304]; };

int main()
{
    constexpr int blocks = 23;
    std::unique_ptr<Plain> plain[blocks];
    std::unique_ptr<Aligned> aligned[blocks];
    std::unique_ptr<char[]> arrays[blocks];
    for (int i = 0; i < blocks; i++) {
        plain[i] = std::make_unique<Plain>();
        aligned[i] = std::make_unique<Aligned>();
        arrays[i] = std::make_unique<char[]>(2404);
        if (reinterpret_cast<unsigned long>(aligned[i].get()) % 128 != 0)
            return 1;
    }
    return 0;
}
