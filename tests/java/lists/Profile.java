// The paper's Profile as a bean of java.util.List; with boxed numbers, which may be null.
import java.util.ArrayList;
import java.util.List;

public class Profile {
    private List<MemoryAllocation> memoryAllocations = new ArrayList<>();
    private Integer numberOfProcesses = 1;
    private Integer numberOfSockets = 1;
    private List<SystemCall> systemCalls = new ArrayList<>();

    public List<MemoryAllocation> getMemoryAllocations() { return memoryAllocations; }
    public void setMemoryAllocations(List<MemoryAllocation> value) { memoryAllocations = value; }
    public Integer getNumberOfProcesses() { return numberOfProcesses; }
    public void setNumberOfProcesses(Integer value) { numberOfProcesses = value; }
    public Integer getNumberOfSockets() { return numberOfSockets; }
    public void setNumberOfSockets(Integer value) { numberOfSockets = value; }
    public List<SystemCall> getSystemCalls() { return systemCalls; }
    public void setSystemCalls(List<SystemCall> value) { systemCalls = value; }
}
